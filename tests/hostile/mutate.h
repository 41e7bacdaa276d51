// Damages a valid message at random, as a broken or hostile sender might do.
//
// Model: Bytes() damages the serialised form. It flips bits, overwrites, repeats or erases runs of bytes, or cuts off
//        the end. Message() damages the parsed form, so the result still parses. It clears fields, or sets them to
//        unusual values, such as the limits of their type. It removes, adds and swaps elements of repeated fields. It
//        replaces a submessage by another one of the same type. The same seed gives the same damage.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <random>
#include <string>

namespace alpa::testing {

class Damage {
 public:
  explicit Damage(uint64_t seed) : random_(seed) {}

  // Makes one to four changes.
  void Bytes(std::string& bytes);
  // Makes one to three changes, in the message or in messages inside it.
  void Message(google::protobuf::Message& message);

  // Returns a number from 0 to n - 1.
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
