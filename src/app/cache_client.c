#include "app/cache_client.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 5000L
#define ANSWER_MS 120000L /* a purge waits for its devices */
#define ANSWER_MAX ((size_t)64 << 20)

struct cache_client {
    CURL *easy;
    struct curl_slist *lines;
    char address[300];
    char why[CURL_ERROR_SIZE];
    char *text;
    size_t len;
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct cache_client *client = context;
    size_t len = size * count;
    char *grown = client->len + len <= ANSWER_MAX ? realloc(client->text, client->len + len) : NULL;
    if (grown == NULL)
        return 0;
    memcpy(grown + client->len, data, len);
    client->text = grown;
    client->len += len;
    return len;
}

static bool add_line(struct cache_client *client, const char *line)
{
    struct curl_slist *longer = curl_slist_append(client->lines, line);
    if (longer != NULL)
        client->lines = longer;
    return longer != NULL;
}

static bool set_lines(struct cache_client *client, const char *token)
{
    char line[1024];
    if (token != NULL) {
        int len = snprintf(line, sizeof line, "Authorization: Bearer %s", token);
        if (len >= (int)sizeof line || !add_line(client, line))
            return false;
    }
    return add_line(client, "Content-Type: application/json") && add_line(client, "Expect:");
}

struct cache_client *cache_client_create(const char *address, const char *token)
{
    struct cache_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return NULL;
    client->easy = curl_easy_init();
    bool fits =
        snprintf(client->address, sizeof client->address, "%s", address) < (int)sizeof client->address;
    if (client->easy == NULL || !fits || !set_lines(client, token)) {
        cache_client_destroy(client);
        return NULL;
    }
    curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, client->lines);
    curl_easy_setopt(client->easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(client->easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(client->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(client->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(client->easy, CURLOPT_TIMEOUT_MS, ANSWER_MS);
    curl_easy_setopt(client->easy, CURLOPT_ERRORBUFFER, client->why);
    curl_easy_setopt(client->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(client->easy, CURLOPT_WRITEDATA, client);
    return client;
}

static unsigned perform(struct cache_client *client, json_t **answer)
{
    json_error_t error;
    long status = 0;
    client->why[0] = '\0';
    client->len = 0;
    CURLcode code = curl_easy_perform(client->easy);
    if (code == CURLE_OK)
        (void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    else if (client->why[0] == '\0')
        (void)snprintf(client->why, sizeof client->why, "%s", curl_easy_strerror(code));
    if (status > 0 && client->len > 0)
        *answer = json_loadb(client->text, client->len, 0, &error);
    return (unsigned)status;
}

unsigned cache_client_ask(
    struct cache_client *client, const char *method, const char *path, const json_t *body, json_t **answer)
{
    size_t room = strlen(client->address) + strlen(path) + sizeof "http://";
    char *url = malloc(room), *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    unsigned status = 0;
    *answer = NULL;
    (void)snprintf(client->why, sizeof client->why, "out of memory");
    if (url != NULL && (text != NULL || body == NULL)) {
        (void)snprintf(url, room, "http://%s%s", client->address, path);
        curl_easy_setopt(client->easy, CURLOPT_URL, url);
        curl_easy_setopt(client->easy, CURLOPT_POSTFIELDS, text ? text : "");
        curl_easy_setopt(client->easy, CURLOPT_POSTFIELDSIZE, text ? (long)strlen(text) : 0L);
        if (strcmp(method, "GET") == 0)
            curl_easy_setopt(client->easy, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(client->easy, CURLOPT_CUSTOMREQUEST, method);
        status = perform(client, answer);
    }
    free(url);
    free(text);
    return status;
}

const char *cache_client_why(const struct cache_client *client)
{
    return client->why;
}

void cache_client_destroy(struct cache_client *client)
{
    if (client->easy != NULL)
        curl_easy_cleanup(client->easy);
    curl_slist_free_all(client->lines);
    free(client->text);
    free(client);
}
