/* What the documents of this room have in common. Internal to plan/. */
#ifndef GALV_PLAN_DOCUMENT_INTERNAL_H
#define GALV_PLAN_DOCUMENT_INTERNAL_H

#include "base/json.h"

/* Reads the optional keys "schema" and "schema_version" of an object being read: the
 * schema must be `schema` ("galvatron-sim/plan") and the major version 1. */
void galv_document_read_schema(galv_json_object *object, const char *schema);

/* Writes both keys. */
void galv_document_write_schema(galv_json_writer *writer, const char *schema);

/* Passes on an error found by a check as one at a value's place. */
galv_status galv_document_refuse(galv_json_value value, const galv_err *why,
                                 galv_err *err);

/* Copies a string into buffer[size], cut at its end; for texts known to fit. */
void galv_document_copy(char *buffer, size_t size, const char *text);

#endif
