/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#pragma once

#include "base/bytes.h"

/* Length of the well-formed character at the start of `a`; 0 where there is none (also when `a` is empty). */
size_t utf8_first(struct bytes a);
bool utf8_valid(struct bytes a);
