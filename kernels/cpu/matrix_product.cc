#include "kernels/cpu/matrix_product.h"

#include <cblas.h>
#include <omp.h>

namespace alpa::kernels::cpu {
namespace {

int Int(int64_t x) { return static_cast<int>(x); }
CBLAS_TRANSPOSE Flag(bool transposed) { return transposed ? CblasTrans : CblasNoTrans; }

}  // namespace

void Multiply(const MatrixProduct<float>& p) {
  cblas_sgemm(CblasRowMajor, Flag(p.a_transposed), Flag(p.b_transposed), Int(p.m), Int(p.n), Int(p.k), 1, p.a,
              Int(p.a_leading), p.b, Int(p.b_leading), p.add ? 1 : 0, p.c, Int(p.c_leading));
}

void Multiply(const MatrixProduct<double>& p) {
  cblas_dgemm(CblasRowMajor, Flag(p.a_transposed), Flag(p.b_transposed), Int(p.m), Int(p.n), Int(p.k), 1, p.a,
              Int(p.a_leading), p.b, Int(p.b_leading), p.add ? 1 : 0, p.c, Int(p.c_leading));
}

void KeepBlasOnThisThread() { omp_set_num_threads(1); }

}  // namespace alpa::kernels::cpu
