/* The version of the library, and its results as text. */
#include <yata.h>

#include "base/check.h"
#include "base/error.h"
#include "cache/item.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

static_assert((int)YATA_EXHAUSTED == (int)E_EXHAUSTED && (int)YATA_TIMEOUT == (int)E_TIMEOUT, "one table");
static_assert((int)YATA_CANCELED == (int)E_CANCELED && (int)YATA_MISSING == (int)E_MISSING, "one table");
static_assert(
    (int)YATA_TOO_LARGE == (int)E_TOO_LARGE && (int)YATA_TRUNCATED == (int)E_TRUNCATED, "one table");
static_assert(
    (int)YATA_UNSUPPORTED == (int)E_UNSUPPORTED && (int)YATA_REFUSED == (int)E_REFUSED, "one table");
static_assert((int)YATA_FOREIGN == (int)E_FOREIGN && (int)YATA_LOST == (int)E_LOST, "one table");
static_assert(YATA_KEY_MAX == ITEM_KEY_MAX, "keys are the head items' keys");

unsigned yata_version(void)
{
    return YATA_VERSION;
}

const char *yata_version_string(void)
{
    return TEXT(YATA_VERSION_MAJOR) "." TEXT(YATA_VERSION_MINOR) "." TEXT(YATA_VERSION_PATCH);
}

const char *yata_strerror(int result)
{
    return error_text(result);
}
