// What Python's dicts and lists hold, compared by address: nothing that they hold is touched, not even to count a reference.
// Only what attributes give that an object's type keeps elsewhere (in slots, in cells) is, for a moment.

enum { LIST, DICT, KEYS, KEYED_DICT, SOME_OF_DICT, ATTRIBUTES, GIVEN, EMPTY_SET, OBJECTS, FUNCTIONS };

static const intptr_t WIDTHS[] = {1, 1, 1, 2, 2, 2, 2, 2, 3, 4};  // of each kind how many addresses an element has

typedef struct {  // of Python's stable interface
    int (*next)(void *dict, intptr_t *place, void **key, void **value);
    void *(*get)(void *dict, void *key);
    void *(*attributes)(void *object, void *unused);
    void *(*attribute)(void *object, void *name);
    intptr_t (*size)(void *list);
    void *(*item)(void *list, intptr_t index);
    intptr_t (*size_of_set)(void *set);
    void *(*type)(void *object);
    void *(*code)(void *function);
    void *(*defaults)(void *function);
    void *(*keyword_defaults)(void *function);
    void (*forget_failure)(void);
} Contents;

static int same_dict(const Contents *of, intptr_t kind, void *dict, intptr_t count, void *const *at) {
    intptr_t place = 0;
    void *key, *value;
    for (intptr_t i = 0; i < count; i++) {
        if (!of->next(dict, &place, &key, &value)) return 0;
        if (kind != DICT && key != *at++) return 0;
        if (kind != KEYS && value != *at++) return 0;
    }
    return !of->next(dict, &place, &key, &value);
}

static int same_list(const Contents *of, void *list, intptr_t count, void *const *at) {
    if (of->size(list) != count) return 0;
    for (intptr_t i = 0; i < count; i++)
        if (of->item(list, i) != at[i]) return 0;
    return 1;
}

static int same_of_dict(const Contents *of, void *dict, intptr_t count, void *const *at) {
    for (intptr_t i = 0; i < count; i++, at += 2) {
        void *found = of->get(dict, at[0]);
        if (!found) of->forget_failure();  // of another key's comparison
        if (found != at[1]) return 0;
    }
    return 1;
}

static int same_attributes(const Contents *of, void *object, intptr_t count, void *const *at) {
    void *dict = of->attributes(object, NULL);
    int same = dict && same_of_dict(of, dict, count, at);
    if (dict) python.decrement(dict);
    return same;
}

// `at` has a name, and for each of the objects behind it what it gives.
static int same_given(const Contents *of, void *name, intptr_t count, void *const *at) {
    for (intptr_t i = 0; i < count; i++, at += 2) {
        void *found = of->attribute(at[0], name);
        if (found) python.decrement(found);
        else of->forget_failure();
        if (found != at[1]) return 0;
    }
    return 1;
}

// Objects, each before its class and its dict; NULL where that does not count.
static int same_objects(const Contents *of, intptr_t count, void *const *at) {
    for (intptr_t i = 0; i < count; i++, at += 3) {
        void *type = of->type(at[0]), *dict = at[2] ? of->attributes(at[0], NULL) : NULL;
        python.decrement(type);
        if (dict) python.decrement(dict);
        if (type != at[1] || dict != at[2]) return 0;
    }
    return 1;
}

// Functions, each before its code and its defaults.
static int same_functions(const Contents *of, intptr_t count, void *const *at) {
    for (intptr_t i = 0; i < count; i++, at += 4)
        if (of->code(at[0]) != at[1] || of->defaults(at[0]) != at[2] || of->keyword_defaults(at[0]) != at[3]) return 0;
    return 1;
}

// Asks for lines of memory, all of them at once.
static void fetch(void *const *lines, long count) {
    for (long i = 0; i < count; i++) __builtin_prefetch(lines[i]);
}

void *fetch_lines(void *const *lines, long count) {
    fetch(lines, count);
    return nothing();
}

// Whether containers hold what is written behind each of them in a table: kind, address, how many, and their addresses, of a
// dict its keys, or each key before its value, or only some of them, and of some attributes of an object; NULL where there is
// none. Of an attribute that many objects give: its name, how many, and each of them before what it gives; of all objects
// and functions, where nothing stands for a container, as said above. The functions of the interface come first.
// All that will be looked at is in these lines.
void *same_contents(void *const *table, long length, void *const *lines, long count_of_lines) {
    fetch(lines, count_of_lines);
    const Contents *of = (const Contents *)table;
    void *const *at = table + sizeof *of / sizeof *table, *const *end = table + length;
    int same = 1;
    while (same && at < end) {
        intptr_t kind = (intptr_t)at[0], count = (intptr_t)at[2];
        void *container = at[1];
        at += 3;
        switch (kind) {
        case LIST: same = same_list(of, container, count, at); break;
        case SOME_OF_DICT: same = same_of_dict(of, container, count, at); break;
        case ATTRIBUTES: same = same_attributes(of, container, count, at); break;
        case GIVEN: same = same_given(of, container, count, at); break;
        case OBJECTS: same = same_objects(of, count, at); break;
        case FUNCTIONS: same = same_functions(of, count, at); break;
        case EMPTY_SET: same = of->size_of_set(container) == 0; break;
        default: same = same_dict(of, kind, container, count, at);
        }
        at += WIDTHS[kind] * count;
    }
    return python.from_long(same);
}
