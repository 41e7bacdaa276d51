#include "tests/hostile/mutate.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace alpa::testing {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Appends `root` and all messages inside it to `all`.
void Collect(Message& root, std::vector<Message*>& all) {
  all.push_back(&root);
  const Reflection& reflection = *root.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(root, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(*reflection.MutableMessage(&root, field), all);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(root, field); ++i) {
      Collect(*reflection.MutableRepeatedMessage(&root, field, i), all);
    }
  }
}

}  // namespace

void Damage::Bytes(std::string& bytes) {
  if (bytes.empty()) return;
  for (size_t n = 1 + Below(4); n > 0 && !bytes.empty(); --n) {
    const size_t at = Below(bytes.size()), length = 1 + Below(std::min<size_t>(bytes.size() - at, 32));
    switch (Below(7)) {
      case 0: bytes.resize(at); break;
      case 1: bytes.erase(at, length); break;
      case 2: bytes.insert(at, bytes.substr(Below(bytes.size()), length)); break;
      case 3:   // bytes of 0xff continue a varint
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, '\xff');
        break;
      case 4: bytes[at] = static_cast<char>(random_()); break;
      default: bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(8)));
    }
  }
}

void Damage::Message(google::protobuf::Message& message) {
  for (size_t n = 1 + Below(3); n > 0; --n) ChangeOne(message);
}

void Damage::ChangeOne(google::protobuf::Message& root) {
  std::vector<google::protobuf::Message*> all;
  Collect(root, all);
  google::protobuf::Message& message = *all[Below(all.size())];
  if (Below(8) == 0) {   // replaces a submessage by another one of its type
    const google::protobuf::Message& other = *all[Below(all.size())];
    if (&message != &root && message.GetDescriptor() == other.GetDescriptor()) {
      std::unique_ptr<google::protobuf::Message> copy(other.New());   // a copy, because one may contain the other
      copy->CopyFrom(other);
      message.CopyFrom(*copy);
      return;
    }
  }
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  if (type.field_count() == 0) return;
  std::vector<const FieldDescriptor*> fields;   // the fields that are set; most changes affect these fields
  message.GetReflection()->ListFields(message, &fields);
  const FieldDescriptor& field = fields.empty() || Below(3) == 0
                                     ? *type.field(static_cast<int>(Below(static_cast<size_t>(type.field_count()))))
                                     : *fields[Below(fields.size())];
  if (field.is_repeated()) ChangeRepeated(message, field);
  else ChangeField(message, field);
}

int64_t Damage::Number(int64_t present) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max(), kMin = std::numeric_limits<int64_t>::min();
  const int64_t edges[] = {0, 1, -1, 2, 3, 5, 7, 13, 64, -2,
                           1 << 16, 1 << 30, 0x7fffffff, -0x80000000LL, 1LL << 32, 1LL << 40, 1LL << 62, kMax, kMin,
                           kMax / 2};
  const uint64_t bits = static_cast<uint64_t>(present);
  switch (Below(6)) {
    case 0: return static_cast<int64_t>(bits + 1);
    case 1: return static_cast<int64_t>(bits - 1);
    case 2: return static_cast<int64_t>(bits * 2);
    case 3: return static_cast<int64_t>(Below(40));
    default: return edges[Below(std::size(edges))];
  }
}

std::string Damage::Text(const std::string& present) {
  const char* const words[] = {"", "parameter", "constant", "while", "call", "tuple", "get-tuple-element", "fusion",
                               "reduce", "add", "dot", "reshape", "iota", "sort", "gather", "scatter",
                               "slice", "pad", "concatenate", "conditional", "custom-call", "broadcast", "convolution",
                               "dynamic-slice", "dynamic-update-slice", "reduce-window", "select-and-scatter",
                               "rng-bit-generator"};
  switch (Below(4)) {
    case 0: {
      std::string damaged = present;
      Bytes(damaged);
      return damaged;
    }
    case 1: return std::string(Below(70'000), 'x');
    default: return words[Below(std::size(words))];
  }
}

void Damage::ChangeField(google::protobuf::Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (Below(6) == 0) return reflection.ClearField(&message, &field);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.SetInt32(&message, &field, static_cast<int32_t>(Number(reflection.GetInt32(message, &field))));
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(&message, &field, Number(reflection.GetInt64(message, &field)));
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.SetUInt32(&message, &field,
                                  static_cast<uint32_t>(Number(reflection.GetUInt32(message, &field))));
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(
          &message, &field,
          static_cast<uint64_t>(Number(static_cast<int64_t>(reflection.GetUInt64(message, &field)))));
    case FieldDescriptor::CPPTYPE_DOUBLE: return reflection.SetDouble(&message, &field, static_cast<double>(Number(0)));
    case FieldDescriptor::CPPTYPE_FLOAT: return reflection.SetFloat(&message, &field, static_cast<float>(Number(0)));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(&message, &field, !reflection.GetBool(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnumValue(&message, &field,
                                     static_cast<int>(Number(reflection.GetEnumValue(message, &field))));
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.SetString(&message, &field, Text(reflection.GetString(message, &field)));
    case FieldDescriptor::CPPTYPE_MESSAGE:   // sets a field without a value to an empty message
      reflection.MutableMessage(&message, &field);
      return;
  }
}

void Damage::ChangeRepeated(google::protobuf::Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, &field);
  const auto any = [&] { return static_cast<int>(Below(static_cast<size_t>(size))); };
  if (size > 0 && Below(2) == 0) {
    switch (Below(4)) {
      case 0: return reflection.RemoveLast(&message, &field);
      case 1: return reflection.SwapElements(&message, &field, any(), any());
      case 2:
        reflection.SwapElements(&message, &field, any(), size - 1);
        return reflection.RemoveLast(&message, &field);
      default: return reflection.ClearField(&message, &field);
    }
  }
  // Adds an element, or changes one.
  const bool add = size == 0 || Below(3) == 0;
  const int at = size == 0 ? 0 : any();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      const int32_t value =
          static_cast<int32_t>(Number(size == 0 ? 0 : reflection.GetRepeatedInt32(message, &field, at)));
      if (add) reflection.AddInt32(&message, &field, value);
      else reflection.SetRepeatedInt32(&message, &field, at, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t value = Number(size == 0 ? 0 : reflection.GetRepeatedInt64(message, &field, at));
      if (add) reflection.AddInt64(&message, &field, value);
      else reflection.SetRepeatedInt64(&message, &field, at, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (add) reflection.AddBool(&message, &field, true);
      else reflection.SetRepeatedBool(&message, &field, at, !reflection.GetRepeatedBool(message, &field, at));
      return;
    case FieldDescriptor::CPPTYPE_STRING:
      if (add) reflection.AddString(&message, &field, Text(""));
      else reflection.SetRepeatedString(&message, &field, at, Text(reflection.GetRepeatedString(message, &field, at)));
      return;
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      google::protobuf::Message* added = reflection.AddMessage(&message, &field);
      if (size > 0) added->CopyFrom(reflection.GetRepeatedMessage(message, &field, at));
      return;
    }
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.AddUInt32(&message, &field, static_cast<uint32_t>(Number(0)));
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.AddUInt64(&message, &field, static_cast<uint64_t>(Number(0)));
    case FieldDescriptor::CPPTYPE_FLOAT: return reflection.AddFloat(&message, &field, static_cast<float>(Number(0)));
    case FieldDescriptor::CPPTYPE_DOUBLE: return reflection.AddDouble(&message, &field, static_cast<double>(Number(0)));
    case FieldDescriptor::CPPTYPE_ENUM: return reflection.AddEnumValue(&message, &field, static_cast<int>(Number(0)));
  }
}

}  // namespace alpa::testing
