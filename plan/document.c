/* The frame of a document: schema and version.
 *
 * Documents name what they are ("galvatron-sim/model") so that a plan handed over as a
 * model is told apart from a broken model. Hand-written files may leave the schema out.
 * Only the major version matters: minor ones add keys that older programs refuse by
 * name, which says more than a number would. */
#include "plan/document_internal.h"

#include <string.h>

void galv_document_read_schema(galv_json_object *object, const char *schema)
{
    galv_json_value value = galv_json_get(object, "schema", GALV_OPTIONAL);
    if (galv_json_type_of(value) != GALV_JSON_ABSENT) {
        const char *given = "";
        if (galv_json_to_string(&given, value, object->err) == GALV_OK &&
            strcmp(given, schema) != 0) {
            galv_json_fail(value, object->err, "schema is '%.80s', not '%s'", given,
                           schema);
        }
    }
    value = galv_json_get(object, "schema_version", GALV_OPTIONAL);
    if (galv_json_type_of(value) != GALV_JSON_ABSENT) {
        const char *given = "";
        if (galv_json_to_string(&given, value, object->err) == GALV_OK &&
            strncmp(given, "1.", 2) != 0) {
            galv_json_fail(value, object->err, "schema_version '%.20s' is not 1.x",
                           given);
        }
    }
}

void galv_document_write_schema(galv_json_writer *writer, const char *schema)
{
    galv_json_key_string(writer, "schema", schema);
    galv_json_key_string(writer, "schema_version", "1.0");
}

galv_status galv_document_refuse(galv_json_value value, const galv_err *why,
                                 galv_err *err)
{
    if (err->status != GALV_OK) {
        return err->status;
    }
    galv_status status = galv_json_fail(value, err, "%s", why->message);
    if (why->hint[0] != '\0') {
        galv_hint(err, "%s", why->hint);
    }
    return status;
}

void galv_document_copy(char *buffer, size_t size, const char *text)
{
    size_t length = strlen(text);
    length = length < size ? length : size - 1;
    memcpy(buffer, text, length);
    buffer[length] = '\0';
}
