/*
 * A memo of what is costly to compute: here the number of lines of files, kept across runs.
 *
 *   memo CACHE_FILE FILE...
 *
 * The key holds all that the result depends on (path, size, time of change), so that nothing ever needs to be
 * removed: results of old versions are simply not asked for any more, and are evicted in time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <yata.h>

static int64_t count_lines(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    int64_t lines = 0;
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

static int64_t lines_of(struct yata *yata, const char *path, const char **how)
{
    struct stat st;
    char key[1024];
    int64_t lines;
    if (stat(path, &st) < 0)
        return -1;
    int key_len = snprintf(key, sizeof key, "lines 1 %s %jd %jd.%09ld", path, (intmax_t)st.st_size,
        (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (key_len >= (int)sizeof key)
        return count_lines(path);
    *how = "remembered";
    if (yata_get_copy_wait(yata, key, (size_t)key_len, 0, &lines, sizeof lines, NULL) == sizeof lines)
        return lines;
    *how = "counted";
    lines = count_lines(path);
    if (lines >= 0) /* a failure here only means that it is counted again next time */
        (void)yata_put_wait(yata, key, (size_t)key_len, &lines, sizeof lines);
    return lines;
}

int main(int argc, char *argv[])
{
    if (argc < 3) {
        fprintf(stderr, "usage: memo CACHE_FILE FILE...\n");
        return 2;
    }
    struct yata_device device = {.path = argv[1], .size_bytes = 64 << 20};
    struct yata_config config = {.struct_bytes = sizeof config,
        .devices = &device,
        .device_count = 1,
        .memory_bytes = 8 << 20,
        .timeout_ms = 60000}; /* the disk may be busy with others */
    struct yata *yata;
    int result = yata_open(&yata, &config);
    if (result < 0) {
        fprintf(stderr, "memo: %s: %s\n", argv[1], yata_strerror(result));
        return 1;
    }
    for (int i = 2; i < argc; i++) {
        const char *how = "can't be read";
        int64_t lines = lines_of(yata, argv[i], &how);
        printf("%8" PRId64 " %s (%s)\n", lines, argv[i], how);
    }
    return yata_close(yata, 60000) < 0;
}
