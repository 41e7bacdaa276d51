// One product of row-major matrices, on the calling thread. Only matrix_product.cc calls the BLAS library.
#pragma once

#include <cstdint>

namespace alpa::kernels::cpu {

// The arguments of C[m, n] = A[m, k] B[k, n]. If `add`, the product is added to C. Row r of a matrix begins at element
// r * leading, where `leading` is the matrix's leading dimension. If the matrix is transposed, column r begins at this
// element.
template <typename T>
struct MatrixProduct {
  int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  int64_t a_leading = 1;
  bool a_transposed = false;
  const T* b = nullptr;
  int64_t b_leading = 1;
  bool b_transposed = false;
  T* c = nullptr;
  int64_t c_leading = 1;
  bool add = false;
};

// REQUIRES: sizes and leading dimensions fit in an int.
void Multiply(const MatrixProduct<float>& product);
void Multiply(const MatrixProduct<double>& product);

// From now on, all BLAS calls of the calling thread run on this thread only. Every thread must call this before it
// multiplies, because the threads of a device split the work among themselves.
void KeepBlasOnThisThread();

}  // namespace alpa::kernels::cpu
