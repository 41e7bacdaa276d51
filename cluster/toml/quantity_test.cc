#include "cluster/toml/quantity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace alpa::cluster {
namespace {

TEST(Quantity, ReadsNumbersWithPrefixAndUnit) {
  struct Row {
    const char* text;
    Unit unit;
    double value;
  };
  for (const Row& row :
       {Row{"40 GB", Unit::kBytes, 40e9}, Row{"16GiB", Unit::kBytes, 16.0 * (1 << 30)}, Row{"0 B", Unit::kBytes, 0},
        Row{" 600 GB/s ", Unit::kBytesPerSecond, 600e9}, Row{"25 Gb/s", Unit::kBytesPerSecond, 25e9 / 8},
        Row{"1.5 MiB/s", Unit::kBytesPerSecond, 1.5 * (1 << 20)}, Row{"312 TFLOP/s", Unit::kFlopsPerSecond, 312e12},
        Row{"1 FLOP/s", Unit::kFlopsPerSecond, 1}, Row{"5 us", Unit::kSeconds, 5e-6},
        Row{"2.5ms", Unit::kSeconds, 2.5e-3}, Row{"3 s", Unit::kSeconds, 3}}) {
    const auto value = ParseQuantity(row.text, row.unit);
    ASSERT_TRUE(value.ok()) << row.text << ": " << value.status();
    EXPECT_DOUBLE_EQ(*value, row.value) << row.text;
  }
}

TEST(Quantity, RefusesTextThatIsNotAnAmount) {
  const std::string endless(100'000, '9');
  for (const std::string& text :
       std::vector<std::string>{"", "GB", "40", "40 GB/s", "40 gb", "-1 GB", "1..2 GB", "nan GB", "inf B", "40 GB x",
                                "0 apples", "4e1 GB", endless + " GB", endless}) {
    const auto value = ParseQuantity(text, Unit::kBytes);
    ASSERT_FALSE(value.ok()) << text.substr(0, 20);
    EXPECT_THAT(std::string(value.status().message()), ::testing::HasSubstr("40 GB"));
    EXPECT_LT(value.status().message().size(), 2000u);
  }
  EXPECT_FALSE(ParseQuantity("5 us", Unit::kBytesPerSecond).ok());
  EXPECT_FALSE(ParseQuantity("5 GiB/s", Unit::kSeconds).ok());
}

}  // namespace
}  // namespace alpa::cluster
