#include "client/lib/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "absl/strings/str_join.h"
#include "client/lib/testing.h"

namespace alpa::client {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<SafetensorsHeader> Parse(absl::string_view file) {
  return ParseSafetensors({reinterpret_cast<const uint8_t*>(file.data()), file.size()});
}

TEST(SafetensorsTest, ReadsFilesFromOtherWriters) {
  const auto header = Parse(Safetensors(
      R"({"__metadata__":{"format":"np"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("none":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}})",
      std::string(16, 'x')));
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->tensors.size(), 3u);
  EXPECT_EQ(header->tensors.at("b").shape.ToString(), "bf16[2,3]");
  EXPECT_EQ(header->tensors.at("b").begin, 4);
  EXPECT_EQ(header->tensors.at("a").shape.ToString(), "f32[]");
  EXPECT_EQ(header->tensors.at("none").shape.elements(), 0);
}

struct Hostile {
  const char* name;
  std::string file;
  const char* says;
};

std::string Length(uint64_t length, absl::string_view rest) {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(length >> (8 * i));
  return absl::StrCat(out, rest);
}
std::string One(absl::string_view fields, size_t data = 8) {
  return Safetensors(absl::StrCat("{\"a\":{", fields, "}}"), std::string(data, 'x'));
}

TEST(SafetensorsTest, RefusesHostileFiles) {
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  ASSERT_TRUE(Parse(One(good)).ok());
  const std::string tensor = absl::StrCat("{", good, "}");
  const Hostile rows[] = {
      {"empty", "", "too few"},
      {"incomplete length", "abc", "too few"},
      {"header past the end", Length(1000, "{}"), "truncated"},
      {"header of 2^63 bytes", Length(uint64_t{1} << 63, "{}"), "at most"},
      {"header of 2^64 - 1 bytes", Length(~uint64_t{0}, "{}"), "at most"},
      {"not JSON", Length(2, "[{"), "not a JSON object"},
      {"JSON, but not an object", Length(2, "[]"), "not a JSON object"},
      {"truncated JSON", Safetensors("{\"a\":{", ""), "not a JSON object"},
      {"no header at all", Length(0, ""), "not a JSON object"},
      {"invalid UTF-8", Safetensors("{\"\xff\xfe\":{}}", ""), "not a JSON object"},
      {"nested without end", Safetensors(std::string(1 << 20, '['), ""), "not a JSON object"},
      {"deep but complete", Safetensors("{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", ""),
       "must have"},
      {"a name appears twice", Safetensors(absl::StrCat("{\"a\":", tensor, ",\"a\":", tensor, "}"), "12345678"),
       "'a' appears twice"},
      {"a tensor is not an object", Safetensors("{\"a\":7}", ""), "must have dtype"},
      {"no dtype", One(R"("shape":[2],"data_offsets":[0,8])"), "must have dtype"},
      {"one more member", One(good + R"(,"more":1)"), "nothing else"},
      {"dtype is a number", One(R"("dtype":7,"shape":[2],"data_offsets":[0,8])"), "not a string"},
      {"unknown dtype", One(R"("dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8])"), "'F8_E4M3' is not known"},
      {"another dtype's size", One(R"("dtype":"F64","shape":[2],"data_offsets":[0,8])"), "needs 16 bytes"},
      {"shape is not a list", One(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), "not a list"},
      {"negative size", One(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "not a size"},
      {"fractional size", One(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), "not a size"},
      {"size past int64", One(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])"), "not a size"},
      {"product overflows", One(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"), "overflows"},
      {"product overflows after a zero",
       One(R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])"), "overflows"},
      {"product wraps to the right size",
       One(R"("dtype":"F32","shape":[4611686018427387904,2,2,2],"data_offsets":[0,8])"), "overflows"},
      {"too many dimensions",
       One(absl::StrCat(R"("dtype":"F32","shape":[)", absl::StrJoin(std::vector<int>(65, 1), ","),
                        R"(],"data_offsets":[0,4])"),
           4),
       "65 dimensions"},
      {"offsets outside of the file", One(R"("dtype":"F32","shape":[2],"data_offsets":[8,16])"),
       "do not lie in the file's 8"},
      {"offsets in the wrong order", One(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), "do not lie"},
      {"negative offset", One(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"), "two byte offsets"},
      {"huge offset", One(R"("dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615])"), "two byte offsets"},
      {"one offset", One(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), "two byte offsets"},
      {"offsets of another size", One(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])"), "needs 4 bytes"},
      {"overlap",
       Safetensors(
           R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
           R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
           std::string(12, 'x')),
       "overlap at byte 4"},
      {"two tensors with the same bytes",
       Safetensors(absl::StrCat("{\"a\":", tensor, ",\"b\":", tensor, "}"), "12345678"), "overlap"},
      {"a gap before the first tensor", One(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"),
       "bytes 0 to 4 of the data belong to no tensor"},
      {"bytes after the last tensor", One(good, 9), "bytes 8 to 9"},
      {"truncated data", One(good, 7), "do not lie in the file's 7"},
  };
  for (const Hostile& row : rows) {
    SCOPED_TRACE(row.name);
    const auto header = Parse(row.file);
    ASSERT_FALSE(header.ok());
    EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(header.status().message(), HasSubstr(row.says));
  }
}

TEST(SafetensorsTest, ADamagedFileIsRefusedOrReadWithinItsBounds) {
  const std::string good = Safetensors(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"I8","shape":[3,1],"data_offsets":[8,11]}})",
      "01234567abc");
  ASSERT_TRUE(Parse(good).ok());
  std::mt19937 random(3);
  for (int i = 0; i < 20'000; ++i) {
    std::string file = good;
    for (int n = 0; n < 1 + i % 4; ++n) file[random() % file.size()] = static_cast<char>(random());
    if (i % 5 == 0) file.resize(random() % file.size());
    const auto header = Parse(file);
    if (!header.ok()) continue;
    for (const auto& [name, entry] : header->tensors) {
      ASSERT_LE(0, entry.begin);
      ASSERT_LE(entry.begin, entry.end);
      ASSERT_LE(header->data_begin + entry.end, static_cast<Bytes>(file.size()));
      ASSERT_EQ(entry.end - entry.begin, entry.shape.bytes());
    }
  }
}

TEST(SafetensorsTest, WrittenTensorsReadBack) {
  Folder folder;
  const std::vector<std::string> names = {"flag", "w\"eird['n\xc3\xa4me']", "scalar", "none"};
  const std::vector<graph::Shape> shapes = {{graph::DType::kPred, {3}},
                                            {graph::DType::kF32, {2, 2}},
                                            {graph::DType::kF64, {}},
                                            {graph::DType::kBF16, {0, 4}}};
  auto writer = SafetensorsWriter::Create(folder.path("out"), names, shapes);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t i = 0; i < names.size(); ++i) {
    ASSERT_EQ(static_cast<Bytes>((*writer)->bytes(i).size()), shapes[i].bytes());
    std::memset((*writer)->bytes(i).data(), 'a' + static_cast<int>(i), (*writer)->bytes(i).size());
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path("out")));
  ASSERT_TRUE((*writer)->Commit().ok());
  writer->reset();
  EXPECT_EQ(folder.size(), 1u);
  const auto file = SafetensorsFile::Open(folder.path("out"));
  ASSERT_TRUE(file.ok()) << file.status();
  for (size_t i = 0; i < names.size(); ++i) {
    const TensorEntry& entry = (*file)->tensors().at(names[i]);
    EXPECT_EQ(entry.shape, shapes[i]);
    EXPECT_EQ(entry.begin % graph::SizeOf(shapes[i].dtype), 0);
    for (uint8_t byte : (*file)->bytes(entry)) EXPECT_EQ(byte, 'a' + i);
  }
}

TEST(SafetensorsTest, AWriterWithoutCommitLeavesNoFile) {
  Folder folder;
  folder.Write("out", "before");
  { ASSERT_TRUE(SafetensorsWriter::Create(folder.path("out"), {"a"}, {{graph::DType::kF32, {1000}}}).ok()); }
  EXPECT_EQ(folder.Read("out"), "before");
  EXPECT_EQ(folder.size(), 1u);
}

TEST(SafetensorsTest, ErrorsNameTheFile) {
  Folder folder;
  EXPECT_EQ(SafetensorsFile::Open(folder.path("nothing")).status().code(), absl::StatusCode::kNotFound);
  const auto damaged = SafetensorsFile::Open(folder.Write("bad", "abc"));
  EXPECT_THAT(damaged.status().message(), HasSubstr(folder.path("bad")));
  EXPECT_FALSE(SafetensorsFile::Open(folder.path()).ok());  // a folder
  EXPECT_FALSE(SafetensorsFile::Open("/dev/null").ok());
  const auto nowhere = SafetensorsWriter::Create(folder.path("no/such/folder"), {}, {});
  EXPECT_THAT(nowhere.status().message(), HasSubstr("no/such/folder"));
}

}  // namespace
}  // namespace alpa::client
