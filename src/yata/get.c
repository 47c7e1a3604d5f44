/* The gets of the API: arguments are checked, the rest is read.h. */
#include <errno.h>

#include "yata/read.h"

int yata_get(struct yata *yata, const void *key, size_t key_len, uint64_t from, uint64_t len,
    yata_view_done *done, void *context)
{
    int result = done == NULL ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    return read_by_key(yata, bytes_of(key, key_len),
        &(struct read_wish){
            .kind = READ_VIEW, .from = from, .len = len, .done.view = done, .context = context});
}

int yata_get_copy(struct yata *yata, const void *key, size_t key_len, uint64_t from, void *to, size_t len,
    yata_copy_done *done, void *context)
{
    int result = done == NULL || (to == NULL && len > 0) ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    return read_by_key(yata, bytes_of(key, key_len),
        &(struct read_wish){
            .kind = READ_COPY, .from = from, .len = len, .to = to, .done.copy = done, .context = context});
}

int yata_value_open(struct yata *yata, const void *key, size_t key_len, yata_value_done *done, void *context)
{
    int result = done == NULL ? -EINVAL : store_check_key(yata, key, key_len);
    if (result < 0)
        return result;
    return read_by_key(yata, bytes_of(key, key_len),
        &(struct read_wish){.kind = READ_OPEN, .done.open = done, .context = context});
}

int yata_value_read(
    struct yata_value *value, uint64_t from, uint64_t len, yata_view_done *done, void *context)
{
    if (value == NULL || done == NULL)
        return -EINVAL;
    return read_value(
        value, &(struct read_wish){
                   .kind = READ_VIEW, .from = from, .len = len, .done.view = done, .context = context});
}

int yata_value_copy(
    struct yata_value *value, uint64_t from, void *to, size_t len, yata_copy_done *done, void *context)
{
    if (value == NULL || done == NULL || (to == NULL && len > 0))
        return -EINVAL;
    return read_value(value,
        &(struct read_wish){
            .kind = READ_COPY, .from = from, .len = len, .to = to, .done.copy = done, .context = context});
}
