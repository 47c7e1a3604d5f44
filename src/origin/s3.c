/*
 * What S3's error answers make of a fetch: an error of ours, the status for a client, and a line in the log
 * where it is the operator's to mend.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "origin/s3_error.h"
#include "origin/transfer.h"

static void copy_text(char *to, size_t capacity, struct bytes from)
{
    size_t len = from.len < capacity - 1 ? from.len : capacity - 1;
    memcpy(to, from.ptr, len);
    to[len] = '\0';
}

static void log_misconfigured(struct transfer *transfer, struct s3_error *said)
{
    const struct origin *origin = transfer->job.origin;
    const struct response *response = &transfer->attempt.response;
    struct bytes id = transfer->job.fetch->request.request_id;
    if (said->region[0] == '\0' && response->bucket_region.len > 0)
        copy_text(said->region, sizeof said->region, response->bucket_region);
    if (said->request_id[0] == '\0' && response->request_id.len > 0)
        copy_text(said->request_id, sizeof said->request_id, response->request_id);
    transfer_clean(said->code);
    transfer_clean(said->message);
    transfer_clean(said->region);
    transfer_clean(said->request_id);
    log_text(transfer->job.client->log, LOG_ERROR, "origin",
        "bucket %s: %s answers %u %s: %s (S3 bucket %s, our region %s, its region %s, S3's request %s, "
        "request %.*s)",
        origin->name == NULL ? "" : origin->name, origin->identity, response->status,
        said->code[0] == '\0' ? "without a code" : said->code, said->message, origin->bucket,
        origin->region == NULL ? "-" : origin->region, said->region[0] == '\0' ? "-" : said->region,
        said->request_id[0] == '\0' ? "-" : said->request_id, (int)id.len, (const char *)id.ptr);
}

static int error_of_verdict(struct transfer *transfer, enum s3_verdict verdict)
{
    switch (verdict) {
    case S3_NOT_FOUND:
        return E_MISSING;
    case S3_FORBIDDEN:
        return E_REFUSED;
    case S3_BAD_REQUEST:
        return E_SYNTAX;
    case S3_FAILED:
        return E_CHANGED;
    case S3_UNSATISFIABLE:
        if (transfer->object.told)
            return E_CHANGED;
        if (transfer->attempt.response.unsatisfied)
            transfer->job.fetch->total = transfer->attempt.response.total;
        return transfer->attempt.request.ranged ? -ERANGE : E_PROTOCOL;
    case S3_UNAVAILABLE:
        transfer->job.fetch->retry_after_s =
            (unsigned)(retry_after_parse(transfer->attempt.response.retry_after) / NS_PER_S);
        return E_EXHAUSTED;
    case S3_TIMEOUT:
        return E_TIMEOUT;
    case S3_MISCONFIGURED:
    case S3_BROKEN:
        return E_PROTOCOL;
    }
    UNREACHABLE();
}

void s3_finish_by_status(struct transfer *transfer)
{
    struct s3_error said;
    unsigned status = transfer->attempt.response.status;
    s3_error_parse(bytes_of(transfer->attempt.error_body, transfer->attempt.error_len), &said);
    enum s3_verdict verdict = s3_error_verdict(status, &said);
    if (verdict == S3_MISCONFIGURED)
        log_misconfigured(transfer, &said);
    transfer_clean(said.code);
    static_assert(sizeof transfer->job.fetch->code >= sizeof said.code, "the code fits");
    memcpy(transfer->job.fetch->code, said.code, sizeof said.code);
    int error = error_of_verdict(transfer, verdict);
    if (error == E_PROTOCOL || verdict == S3_UNAVAILABLE)
        transfer->job.fetch->status = s3_verdict_status(verdict);
    transfer_finish(transfer, error);
}
