// The status page's files, served from the binary.
#pragma once

namespace alpa::coordinator {

extern const char kPageHtml[];
extern const char kPageCss[];
extern const char kPageScript[];

}  // namespace alpa::coordinator
