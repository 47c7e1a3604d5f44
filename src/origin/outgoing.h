/*
 * One request as libcurl sends it: URL, request target and field lines. Built anew for every attempt.
 */
#pragma once

#include "origin/backend.h"

struct curl_slist;

struct outgoing {
    char url[ENDPOINT_URL_MAX + 4096]; /* with a versionId of up to 1,024 bytes, encoded */
    char *target;                      /* what the request line says, where the URL does not; or NULL */
    struct curl_slist *lines;
};

/* Appends a field line; the value holds no line end. -ENOMEM, E_TOO_LARGE. */
MUST_CHECK int outgoing_add(struct outgoing *built, struct bytes name, struct bytes value);
/* The value of Range for [first, last]. */
struct bytes outgoing_range(const struct origin_request *request, char *text, size_t capacity);
/* The list of lines must outlive the transfer. */
void outgoing_free(struct outgoing *built);
