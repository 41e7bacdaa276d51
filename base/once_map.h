// A map that computes each value once. The first caller of Get for a key computes the value. Callers that arrive
// meanwhile wait for the value.
//
// Threads: thread-safe. `make` runs without the map's lock. `make` may call Get for other keys, but not for the key
//          that it computes.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "base/mutex.h"

namespace alpa {

template <typename Key, typename Value>
class OnceMap {
 public:
  // Returns the value of `key`. Calls make() to compute it if this is the first call for `key`. The reference is valid
  // as long as the map lives.
  template <typename Make>
  const Value& Get(const Key& key, Make&& make) {
    std::optional<Value>* value = nullptr;
    {
      MutexLock lock(mutex_);
      const auto [at, is_first] = values_.try_emplace(key);
      if (!is_first) {
        while (!at->second) made_.Wait(lock);
        return *at->second;
      }
      value = &at->second;
    }
    Value made = std::forward<Make>(make)();
    MutexLock lock(mutex_);
    *value = std::move(made);
    made_.NotifyAll();
    return **value;
  }

 private:
  Mutex mutex_;
  CondVar made_;
  std::map<Key, std::optional<Value>> values_ ALPA_GUARDED_BY(mutex_);
};

}  // namespace alpa
