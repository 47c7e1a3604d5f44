#include "proxy/bare.h"

#include <stdlib.h>

#include "http/target.h"
#include "proxy/request.h"

#define ARENA_HEAP_MAX (1u << 20)
#define TARGET_MAX 8192

struct bare {
    struct http_request http;
    struct http_field host;
    uint8_t target[TARGET_MAX];
    struct request request; /* last: most of it is not cleared */
};

static void name_host(struct bare *bare, struct bytes host)
{
    if (host.len == 0)
        return;
    bare->host = (struct http_field){BYTES("Host"), host};
    bare->http.host = host;
    bare->http.fields = (struct http_fields){&bare->host, 1};
}

static bool write_http(struct bare *bare, const struct bucket_settings *settings, struct bytes key,
    struct bytes query, struct bytes host)
{
    struct writer w = writer_of(bare->target, sizeof bare->target);
    bool slash = settings->http.on && key.len > 0 && key.ptr[0] == '/';
    target_encode_path(&w, route_prefix(bytes_of_string(settings->path_prefix)));
    write_u8(&w, '/');
    target_encode_path(&w, bytes_from(key, slash ? 1 : 0));
    if (query.ptr) {
        write_u8(&w, '?');
        write_bytes(&w, query);
    }
    bare->http = (struct http_request){.method = HTTP_GET,
        .method_text = BYTES("GET"),
        .minor = 1,
        .framing = HTTP_BODY_NONE,
        .target = writer_bytes(&w)};
    name_host(bare, host);
    return !w.failed;
}

struct request *bare_request(const struct bucket_settings *settings, struct bytes key, struct bytes query,
    struct bytes host, bool *fits)
{
    struct bare *bare = malloc(sizeof *bare);
    if (bare == NULL)
        return NULL;
    struct request *request = &bare->request;
    memset(request, 0, offsetof(struct request, first_block));
    *fits = write_http(bare, settings, key, query, host);
    request->http = &bare->http;
    arena_init(&request->arena, request->first_block, sizeof request->first_block, ARENA_HEAP_MAX);
    return request;
}

void bare_free(struct request *request)
{
    if (request == NULL)
        return;
    arena_reset(&request->arena);
    free(CONTAINER_OF(request, struct bare, request));
}
