// The files of the status page, compiled into the binary.
#pragma once

namespace alpa::coordinator {

extern const char kPageHtml[];
extern const char kPageCss[];
extern const char kPageScript[];

}  // namespace alpa::coordinator
