#include "coordinator/core/text.h"

#include <gtest/gtest.h>

namespace alpa::coordinator {
namespace {

TEST(CleanTextTest, WellFormedTextIsUnchanged) {
  for (const char* text : {"", "plain\n\ttext", "h\u00e9", "\u20ac", "\U0001F600", "\uD7FF\uE000"}) {
    EXPECT_EQ(CleanText(text, 100), text);
  }
}

TEST(CleanTextTest, InvalidBytesBecomeQuestionMarks) {
  EXPECT_EQ(CleanText("a\xff"
                      "b",
                      100),
            "a?b");
  EXPECT_EQ(CleanText("\xc0\xaf", 100), "??") << "overlong";
  EXPECT_EQ(CleanText("\xe0\x80\x80", 100), "???") << "overlong";
  EXPECT_EQ(CleanText("\xed\xa0\x80", 100), "???") << "surrogate";
  EXPECT_EQ(CleanText("\xf4\x90\x80\x80", 100), "????") << "beyond U+10FFFF";
  EXPECT_EQ(CleanText("\xe2\x82", 100), "??") << "cut off";
}

TEST(CleanTextTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(CleanText("abcdef", 3), "abc...");
  EXPECT_EQ(CleanText("abc", 3), "abc");
  EXPECT_EQ(CleanText("\u20ac\u20ac", 5), "\u20ac...");
}

}  // namespace
}  // namespace alpa::coordinator
