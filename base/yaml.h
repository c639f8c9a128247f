/* YAML in (over libyaml), read through base/json.h: the document becomes the same tree.
 * Plain scalars become null, booleans or numbers by the YAML 1.2 core schema; anchors,
 * tags, multiple documents and duplicate keys are refused with file and line. */
#ifndef GALV_BASE_YAML_H
#define GALV_BASE_YAML_H

#include "base/json.h"

/* Parses a YAML file or text. Caller frees with galv_json_free. */
galv_status galv_yaml_read_file(galv_json **document, const char *path, galv_err *err);
galv_status galv_yaml_read_text(galv_json **document, const char *name,
                                const char *text, size_t length, galv_err *err);

#endif
