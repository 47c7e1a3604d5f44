/*
 * One S3 request as libcurl sends it: URL and field lines, signed with this moment's date. Every attempt is
 * built anew, since a signature ages and a resumed transfer asks for another range.
 */
#pragma once

#include "origin/backend.h"

struct curl_slist;

struct s3_request {
    char url[ENDPOINT_URL_MAX + 4096]; /* with a versionId of up to 1,024 bytes, encoded */
    struct curl_slist *lines;
};

/* -ENOMEM, E_TOO_LARGE. wall_s: seconds since 1970. */
MUST_CHECK int s3_request_build(const struct origin *origin, const struct origin_request *request,
    int64_t wall_s, struct s3_request *built);
/* The list of lines must outlive the transfer. */
void s3_request_free(struct s3_request *built);
