#include "http/storable.h"

static bool is_among(unsigned status, const uint16_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == status)
            return true;
    return false;
}

bool status_is_heuristic(unsigned status)
{
    static const uint16_t list[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501};
    return is_among(status, list, sizeof list / sizeof *list);
}

bool status_is_understood(unsigned status)
{
    static const uint16_t list[] = {302, 303, 307, 400, 403, 500, 502, 503, 504};
    return status_is_heuristic(status) || is_among(status, list, sizeof list / sizeof *list);
}

static bool has_time(const struct storable_input *input)
{
    return input->control->s_maxage_s != DELTA_SECONDS_NONE ||
           input->control->max_age_s != DELTA_SECONDS_NONE || input->has_expires || input->has_ttl;
}

bool storable_by_authorized(const struct cache_control *control)
{
    return control->must_revalidate || control->is_public || control->s_maxage_s != DELTA_SECONDS_NONE;
}

enum storable storable_judge(const struct storable_input *input)
{
    const struct cache_control *control = input->control;
    bool understood = status_is_understood(input->status);
    bool special = input->status == 206 || input->status == 304 || control->must_understand;
    if (!input->reads)
        return STORABLE_NOT_METHOD;
    if (input->status < 200 || input->status > 599 || (special && !understood))
        return STORABLE_NOT_STATUS;
    if (control->no_store && !control->must_understand)
        return STORABLE_NOT_NO_STORE;
    if (control->is_private)
        return STORABLE_NOT_PRIVATE;
    if (input->authorization && !storable_by_authorized(control))
        return STORABLE_NOT_AUTHORIZED;
    bool by_heuristics = input->heuristics && status_is_heuristic(input->status);
    return has_time(input) || control->is_public || by_heuristics ? STORABLE : STORABLE_NOT_ALLOWED;
}
