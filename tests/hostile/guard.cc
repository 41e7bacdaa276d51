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

// Present under AddressSanitizer alone.
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace alpa::testing {
namespace {

// In CPU time, generous: sanitizers slow down, and what is feared is exponential.
constexpr double kMaxSeconds = 20;
constexpr size_t kMaxAllocation = size_t{256} << 20, kMaxLive = size_t{1} << 30;

char present[256] = "no case";
std::atomic<size_t> live{0}, largest{0}, most{0};

void TellCase() {
  (void)!write(2, "hostile case: ", 14);
  (void)!write(2, present, std::strlen(present));
  (void)!write(2, "\n", 1);
}
void OnSignal(int signal) {
  TellCase();
  ::signal(signal, SIG_DFL);
  raise(signal);
}

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void Raise(std::atomic<size_t>& to, size_t value) {
  size_t seen = to;
  while (seen < value && !to.compare_exchange_weak(seen, value)) {
  }
}

void* Allocate(size_t bytes) {
  Raise(largest, bytes);
  if (bytes > 4 * kMaxAllocation) {   // not even tried: the machine has other uses for its memory
    TellCase();
    std::abort();
  }
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  Raise(most, live += malloc_usable_size(memory));
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
    if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(&TellCase);
    else for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) ::signal(signal, &OnSignal);
    ::signal(SIGABRT, &OnSignal);
    return true;
  }();
  (void)once;
  std::strncpy(present, name.c_str(), sizeof(present) - 1);
  largest = 0;
  most = live.load();
}

CaseGuard::~CaseGuard() {
  EXPECT_LT(CpuSeconds() - start_, kMaxSeconds) << name_;
  EXPECT_LT(largest.load(), kMaxAllocation) << name_;
  EXPECT_LT(most.load(), kMaxLive) << name_;
}

}  // namespace alpa::testing

void* operator new(size_t bytes) { return alpa::testing::Allocate(bytes); }
void* operator new[](size_t bytes) { return alpa::testing::Allocate(bytes); }
// The library's own would come from the sanitizer's heap, and not match the deletes below.
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
