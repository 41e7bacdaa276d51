// Damaged messages: what a broken or hostile sender may send instead of a good one.
//
// Model:   either the bytes are damaged (bits, runs, cuts), or the parsed message (fields set to values at the edges of their
//          types, repeated fields cut, doubled and swapped, parts replaced by parts of the same kind). The second gets past the parser.
// Same seed, same damage.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <random>
#include <string>

namespace alpa::testing {

class Damage {
 public:
  explicit Damage(uint64_t seed) : random_(seed) {}

  void Bytes(std::string& bytes);
  // One to a few changes, anywhere in it.
  void Message(google::protobuf::Message& message);

  // 0 .. n - 1.
  size_t Below(size_t n) { return static_cast<size_t>(random_() % n); }

 private:
  void ChangeOne(google::protobuf::Message& root);
  void ChangeField(google::protobuf::Message& message, const google::protobuf::FieldDescriptor& field);
  void ChangeRepeated(google::protobuf::Message& message, const google::protobuf::FieldDescriptor& field);
  int64_t Number(int64_t present);
  std::string Text(const std::string& present);

  std::mt19937_64 random_;
};

}  // namespace alpa::testing
