// Values that are made once each, by whoever asks first; who asks meanwhile waits for it.
//
// Threads: thread-safe. `make` runs without the lock, and must not ask for its own key.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "base/mutex.h"

namespace alpa {

template <typename Key, typename Value>
class OnceMap {
 public:
  // The value stays where it is as long as the map lives.
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
