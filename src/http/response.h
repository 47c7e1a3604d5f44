/*
 * Pieces of responses: reason phrases, field lines and the JSON body of errors.
 */
#pragma once

#include "base/bytes.h"

/* "Not Found"; "" for a status without one. Static. */
struct bytes http_reason(unsigned status);

/* "name: value\r\n". The value is written as it is: it comes from a parsed head or from us. */
void http_write_field(struct writer *w, struct bytes name, struct bytes value);
void http_write_field_u64(struct writer *w, struct bytes name, uint64_t value);

/* {"error":"Not Found","message":"...","status":404} and a line feed. The message is escaped. */
void http_write_error_body(struct writer *w, unsigned status, struct bytes message);
#define HTTP_ERROR_CONTENT_TYPE "application/json"
