#include "tests/hostile/guard.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

// AddressSanitizer defines this function. In other builds its address is null.
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace alpa::testing {
namespace {

// Limit on the CPU seconds of a case. The limit is high because sanitizers are slow. The limit only has to detect a
// case that takes exponential time.
constexpr double kMaxSeconds = 20;
// kMaxAllocation limits the bytes of one allocation. kMaxLive limits the bytes that are allocated at the same time.
constexpr size_t kMaxAllocation = size_t{256} << 20, kMaxLive = size_t{1} << 30;

char current_case[256] = "no case";
std::atomic<size_t> live{0}, largest{0}, peak{0};   // in bytes

void PrintCase() {
  (void)!write(2, "hostile case: ", 14);
  (void)!write(2, current_case, std::strlen(current_case));
  (void)!write(2, "\n", 1);
}
void OnSignal(int signal) {
  PrintCase();
  ::signal(signal, SIG_DFL);
  raise(signal);
}

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void RaiseTo(std::atomic<size_t>& maximum, size_t value) {
  size_t seen = maximum;
  while (seen < value && !maximum.compare_exchange_weak(seen, value)) {
  }
}

void* Allocate(size_t bytes) {
  RaiseTo(largest, bytes);
  if (bytes > 4 * kMaxAllocation) {   // aborts instead of exhausting the machine's memory
    PrintCase();
    std::abort();
  }
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  RaiseTo(peak, live += malloc_usable_size(memory));
  return memory;
}
void Release(void* memory) {
  if (memory == nullptr) return;
  live -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

CaseGuard::CaseGuard(const std::string& name) : name_(name), start_(CpuSeconds()) {
  static const bool once = [] {
    if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(&PrintCase);
    else for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, &OnSignal);
    ::signal(SIGABRT, &OnSignal);
    return true;
  }();
  (void)once;
  std::strncpy(current_case, name.c_str(), sizeof(current_case) - 1);
  largest = 0;
  peak = live.load();
}

CaseGuard::~CaseGuard() {
  EXPECT_LT(CpuSeconds() - start_, kMaxSeconds) << "CPU seconds of case " << name_;
  EXPECT_LT(largest.load(), kMaxAllocation) << "bytes of the largest allocation in case " << name_;
  EXPECT_LT(peak.load(), kMaxLive) << "most bytes allocated at once in case " << name_;
}

}  // namespace alpa::testing

void* operator new(size_t bytes) { return alpa::testing::Allocate(bytes); }
void* operator new[](size_t bytes) { return alpa::testing::Allocate(bytes); }
// The default nothrow versions would allocate from the sanitizer's heap. The deletes below would not match such
// allocations, so this file replaces the nothrow versions, too.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return alpa::testing::Allocate(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](size_t bytes, const std::nothrow_t& tag) noexcept { return operator new(bytes, tag); }
void operator delete(void* memory) noexcept { alpa::testing::Release(memory); }
void operator delete[](void* memory) noexcept { alpa::testing::Release(memory); }
void operator delete(void* memory, size_t) noexcept { alpa::testing::Release(memory); }
void operator delete[](void* memory, size_t) noexcept { alpa::testing::Release(memory); }
