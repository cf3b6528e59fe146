// What Python's dicts and lists hold, compared by address: nothing that they hold is touched, not even to count a reference.

enum { LIST, DICT, KEYED_DICT, SOME_OF_DICT, ATTRIBUTES, OBJECTS, FUNCTIONS };

typedef struct {  // of Python's stable interface
    int (*next)(void *dict, intptr_t *place, void **key, void **value);
    void *(*get)(void *dict, void *key);
    void *(*attributes)(void *object, void *unused);
    intptr_t (*size)(void *list);
    void *(*item)(void *list, intptr_t index);
    void *(*type)(void *object);
    void *(*code)(void *function);
    void *(*defaults)(void *function);
    void *(*keyword_defaults)(void *function);
} Contents;

// Whether containers hold what is written behind each of them in a table: kind, address, how many, and their addresses, of a
// dict whose keys count as well, or only some, and of some attributes of an object, each key before its value; NULL where
// there is none. Of objects follow class and dict (NULL: it does not count), of functions code and defaults, each behind
// the address of its own; the container is NULL there. The functions of the interface come first.
void *same_contents(void *const *table, long length) {
    const Contents *of = (const Contents *)table;
    void *const *at = table + sizeof *of / sizeof *table, *const *end = table + length, *key, *value;
    int same = 1;
    while (same && at < end) {
        intptr_t kind = (intptr_t)at[0], count = (intptr_t)at[2], place = 0;
        void *container = at[1];
        at += 3;
        if (kind == LIST) {
            same = of->size(container) == count;
            for (intptr_t i = 0; same && i < count; i++) same = of->item(container, i) == *at++;
            continue;
        }
        if (kind == OBJECTS) {
            for (intptr_t i = 0; same && i < count; i++, at += 3) {
                void *type = of->type(at[0]), *dict = at[2] ? of->attributes(at[0], NULL) : NULL;
                same = type == at[1] && dict == at[2];
                python.decrement(type);
                if (dict) python.decrement(dict);
            }
            continue;
        }
        if (kind == FUNCTIONS) {
            for (intptr_t i = 0; same && i < count; i++, at += 4)
                same = of->code(at[0]) == at[1] && of->defaults(at[0]) == at[2] && of->keyword_defaults(at[0]) == at[3];
            continue;
        }
        if (kind == SOME_OF_DICT || kind == ATTRIBUTES) {
            void *dict = kind == ATTRIBUTES ? of->attributes(container, NULL) : container;
            same = dict != NULL;
            for (intptr_t i = 0; same && i < count; i++, at += 2) same = of->get(dict, at[0]) == at[1];
            if (dict && dict != container) python.decrement(dict);
            continue;
        }
        for (intptr_t i = 0; same && i < count; i++) {
            same = of->next(container, &place, &key, &value);
            if (same && kind == KEYED_DICT) same = key == *at++;
            if (same) same = value == *at++;
        }
        same = same && !of->next(container, &place, &key, &value);
    }
    return python.from_long(same);
}
