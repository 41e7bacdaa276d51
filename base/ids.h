// Integer ids that cannot be mixed up: StrongId<Tag> compares, hashes and prints, and converts to nothing.
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

// A device's number in the cluster inventory, unique among all workers' devices of one cluster epoch.
using DeviceId = StrongId<struct DeviceTag>;
// A mesh's position in Plan::meshes.
using MeshId = StrongId<struct MeshTag>;

}  // namespace alpa

template <typename Tag, typename Int>
struct std::hash<alpa::StrongId<Tag, Int>> {
  size_t operator()(alpa::StrongId<Tag, Int> id) const { return std::hash<Int>()(id.value()); }
};
