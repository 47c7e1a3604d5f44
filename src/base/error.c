#include "base/error.h"

#include <string.h>

const char *error_text(int error)
{
    switch (error) {
#define X(name, value, text)                                                                                 \
    case name:                                                                                               \
        return text;
        ERROR_TABLE(X)
#undef X
    default:
        return error < 0 ? strerrordesc_np(-error) ? strerrordesc_np(-error) : "unknown error" : "success";
    }
}
