#include "base/once_map.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace alpa {
namespace {

TEST(OnceMap, ComputesEachValueOnceForAllThreads) {
  OnceMap<int, std::string> map;
  std::atomic<int> made{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        const std::string& value = map.Get(i % 10, [&] {
          ++made;
          std::this_thread::yield();
          return std::to_string(i % 10);
        });
        if (value != std::to_string(i % 10)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 10);
  EXPECT_EQ(wrong, 0);
}

TEST(OnceMap, AValueMayBeComputedFromAnotherValue) {
  OnceMap<int, int> map;
  const int& second = map.Get(2, [&] { return map.Get(1, [] { return 20; }) + 1; });
  EXPECT_EQ(second, 21);
  EXPECT_EQ(&map.Get(2, [] { return 0; }), &second);
}

}  // namespace
}  // namespace alpa
