/*
 * One request as libcurl sends it: URL, request target and field lines. Built anew for every attempt.
 */
#pragma once

#include "origin/backend.h"

struct curl_slist;

/* Of S3: a versionId, or what a listing asks for, encoded. */
#define OUTGOING_QUERY_MAX 8192

struct outgoing {
    char url[ENDPOINT_URL_MAX + OUTGOING_QUERY_MAX];
    char *target; /* what the request line says, where the URL does not; or NULL */
    struct curl_slist *lines;
};

/* Appends a field line; the value holds no line end. -ENOMEM, E_TOO_LARGE. */
MUST_CHECK int outgoing_add(struct outgoing *built, struct bytes name, struct bytes value);
/* The value of Range for [first, last]. */
struct bytes outgoing_range(const struct origin_request *request, char *text, size_t capacity);
/* The list of lines must outlive the transfer. */
void outgoing_free(struct outgoing *built);
