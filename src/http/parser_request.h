/* What a request's line and fields mean together. Pure. */
#pragma once

#include "http/parser.h"

/* method_text, target, minor and fields are set; sets the rest, or says what is wrong. */
MUST_CHECK enum http_refusal http_request_judge(struct http_request *request);
