#include "http/date.h"

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char long_day_names[7][10] = {
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char month_names[12][4] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

#define DAY_S INT64_C(86400)
#define YEAR_0_S INT64_C(-62167219200)    /* 0000-01-01 00:00:00 */
#define YEAR_9999_S INT64_C(253402300799) /* 9999-12-31 23:59:59 */

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned hour, minute, second;
};

/* Days since 1970-01-01 of the proleptic Gregorian calendar, counted in 400-year eras that begin in March, so
 * that the leap day is the last of its year. Years from 0 on. */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_of_days(int64_t days, struct civil *civil)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    civil->day = (unsigned)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    civil->month = (unsigned)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    civil->year = year_of_era + era * 400 + (civil->month <= 2);
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned days_in_month(int64_t year, unsigned month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

static bool civil_seconds(const struct civil *civil, int64_t *seconds)
{
    CHECK(civil->month >= 1 && civil->month <= 12);
    if (civil->day < 1 || civil->day > days_in_month(civil->year, civil->month))
        return false;
    if (civil->hour > 23 || civil->minute > 59 || civil->second > 60)
        return false;
    *seconds = days_of(civil->year, civil->month, civil->day) * DAY_S + civil->hour * INT64_C(3600) +
               civil->minute * INT64_C(60) + civil->second;
    return true;
}

static unsigned read_digits(struct reader *r, size_t count)
{
    struct bytes digits = read_bytes(r, count);
    unsigned value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            r->failed = true;
        value = value * 10 + (unsigned)(digits.ptr[i] - '0');
    }
    return r->failed ? 0 : value;
}

static void expect(struct reader *r, const char *literal)
{
    struct bytes wanted = bytes_of_string(literal);
    if (!bytes_equal(read_bytes(r, wanted.len), wanted))
        r->failed = true;
}

static void read_day_name(struct reader *r)
{
    struct bytes name = read_bytes(r, 3);
    for (size_t i = 0; i < 7; i++)
        if (bytes_equal(name, bytes_of_string(day_names[i])))
            return;
    r->failed = true;
}

/* 1 to 12, also on failure. */
static unsigned read_month(struct reader *r)
{
    struct bytes name = read_bytes(r, 3);
    for (unsigned i = 0; i < 12; i++)
        if (bytes_equal(name, bytes_of_string(month_names[i])))
            return i + 1;
    r->failed = true;
    return 1;
}

static void read_time(struct reader *r, struct civil *civil)
{
    civil->hour = read_digits(r, 2);
    expect(r, ":");
    civil->minute = read_digits(r, 2);
    expect(r, ":");
    civil->second = read_digits(r, 2);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static struct civil read_fixdate(struct reader *r)
{
    struct civil civil = {0};
    read_day_name(r);
    expect(r, ", ");
    civil.day = read_digits(r, 2);
    expect(r, " ");
    civil.month = read_month(r);
    expect(r, " ");
    civil.year = read_digits(r, 4);
    expect(r, " ");
    read_time(r, &civil);
    expect(r, " GMT");
    return civil;
}

/* Sun Nov  6 08:49:37 1994 */
static struct civil read_asctime(struct reader *r)
{
    struct civil civil = {0};
    read_day_name(r);
    expect(r, " ");
    civil.month = read_month(r);
    expect(r, " ");
    if (reader_left(r) > 0 && *r->at == ' ') {
        expect(r, " ");
        civil.day = read_digits(r, 1);
    } else {
        civil.day = read_digits(r, 2);
    }
    expect(r, " ");
    read_time(r, &civil);
    expect(r, " ");
    civil.year = read_digits(r, 4);
    return civil;
}

/* Sunday, 06-Nov-94 08:49:37 GMT; the name has been read. */
static struct civil read_rfc850(struct reader *r)
{
    struct civil civil = {0};
    expect(r, ", ");
    civil.day = read_digits(r, 2);
    expect(r, "-");
    civil.month = read_month(r);
    expect(r, "-");
    civil.year = read_digits(r, 2);
    expect(r, " ");
    read_time(r, &civil);
    expect(r, " GMT");
    return civil;
}

static bool finish(const struct reader *r, const struct civil *civil, int64_t *seconds)
{
    return !r->failed && reader_left(r) == 0 && civil_seconds(civil, seconds);
}

/* RFC 9110 5.6.7: what seems more than 50 years in the future was in the most recent year in the past with
 * these digits. Compared by years plus the rest of the date, not by a number of seconds. */
static bool finish_rfc850(const struct reader *r, struct civil civil, int64_t now_s, int64_t *seconds)
{
    struct civil limit;
    civil_of_days(now_s / DAY_S - (now_s % DAY_S < 0), &limit);
    int64_t time_of_day = now_s - days_of(limit.year, limit.month, limit.day) * DAY_S;
    limit.year += 50;
    if (limit.month == 2 && limit.day == 29 && !is_leap(limit.year))
        limit.day = 28;
    int64_t limit_s = days_of(limit.year, limit.month, limit.day) * DAY_S + time_of_day;
    /* The latest year with these digits that is not past the limit; 29 February decides by itself. */
    civil.year += limit.year - limit.year % 100;
    if (civil.year > limit.year)
        civil.year -= 100;
    if (!finish(r, &civil, seconds))
        return false;
    if (*seconds <= limit_s)
        return true;
    civil.year -= 100;
    return finish(r, &civil, seconds);
}

static bool starts_as_rfc850(struct reader *r, struct bytes text)
{
    for (size_t i = 0; i < 7; i++) {
        struct bytes name = bytes_of_string(long_day_names[i]);
        if (bytes_start_with(text, name)) {
            (void)read_bytes(r, name.len);
            return true;
        }
    }
    return false;
}

bool date_parse(struct bytes text, int64_t now_s, int64_t *seconds)
{
    struct reader r = reader_of(text);
    struct civil civil;
    if (text.len < 24)
        return false;
    if (now_s < YEAR_0_S || now_s > YEAR_9999_S)
        now_s = 0;
    if (text.ptr[3] == ',')
        civil = read_fixdate(&r);
    else if (text.ptr[3] == ' ')
        civil = read_asctime(&r);
    else if (starts_as_rfc850(&r, text))
        return finish_rfc850(&r, read_rfc850(&r), now_s, seconds);
    else
        return false;
    return finish(&r, &civil, seconds);
}

static void put_digits(uint8_t *at, unsigned value, size_t count)
{
    while (count-- > 0) {
        at[count] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

void date_format(int64_t seconds, uint8_t text[DATE_LEN])
{
    static const char pattern[DATE_LEN + 1] = "Sun, 06 Nov 1994 08:49:37 GMT";
    if (seconds < YEAR_0_S)
        seconds = YEAR_0_S;
    if (seconds > YEAR_9999_S)
        seconds = YEAR_9999_S;
    int64_t days = seconds / DAY_S - (seconds % DAY_S < 0);
    unsigned rest = (unsigned)(seconds - days * DAY_S);
    struct civil civil;
    civil_of_days(days, &civil);
    memcpy(text, pattern, DATE_LEN);
    memcpy(text, day_names[((days + 4) % 7 + 7) % 7], 3); /* day 0 was a Thursday */
    put_digits(text + 5, civil.day, 2);
    memcpy(text + 8, month_names[civil.month - 1], 3);
    put_digits(text + 12, (unsigned)civil.year, 4);
    put_digits(text + 17, rest / 3600, 2);
    put_digits(text + 20, rest / 60 % 60, 2);
    put_digits(text + 23, rest % 60, 2);
}
