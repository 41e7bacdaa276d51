// One product of row-major matrices on the calling thread: the only place that knows the BLAS library.
#pragma once

#include <cstdint>

namespace alpa::kernels::cpu {

// C[m, n] = A[m, k] B[k, n], or C += where `add`. Row r of a matrix begins at r * its leading dimension; where it is
// transposed, that is a column's.
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

// Makes the BLAS library use the calling thread only, for calls from this thread. Every thread that multiplies calls it
// first: the threads of the devices share the work out among themselves.
void KeepBlasOnThisThread();

}  // namespace alpa::kernels::cpu
