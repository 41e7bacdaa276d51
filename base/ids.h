// Integer ids of distinct types. A StrongId<Tag> compares, hashes and prints, and never converts to another type, so
// the compiler rejects a device id in place of a mesh id.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <utility>

namespace alpa {

template <typename Tag, typename Int = int32_t>
class StrongId {
 public:
  constexpr StrongId() = default;  // invalid
  constexpr explicit StrongId(Int value) : value_(value) {}

  constexpr Int value() const { return value_; }
  constexpr bool valid() const { return value_ >= 0; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  template <typename H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }
  friend std::ostream& operator<<(std::ostream& out, StrongId id) { return out << id.value_; }

 private:
  Int value_ = -1;
};

// The number of a device in the cluster inventory. It is unique among the devices of all workers within a cluster
// epoch.
using DeviceId = StrongId<struct DeviceTag>;
// The position of a mesh in Plan::meshes or Executable::meshes.
using MeshId = StrongId<struct MeshTag>;

}  // namespace alpa

template <typename Tag, typename Int>
struct std::hash<alpa::StrongId<Tag, Int>> {
  size_t operator()(alpa::StrongId<Tag, Int> id) const { return std::hash<Int>()(id.value()); }
};
