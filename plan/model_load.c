/* Whatever names a model.
 *
 * A word is looked up in the catalog; anything with a slash or a known extension, and
 * any existing file, is read. What kind of file it is shows in its keys, not in its
 * name: ours say their schema or have "groups" or "num_layers" with a "name", Hugging
 * Face's have "model_type" or "architectures" or their own spellings, and YAML is
 * Galvatron's. A plan or result of ours is accepted too: its model is taken. */
#include "plan/model.h"

#include "base/file.h"
#include "base/yaml.h"
#include "plan/catalog.h"
#include "plan/document_internal.h"

#include <stdio.h>
#include <string.h>

static bool has(galv_json_value object, const char *key)
{
    return galv_json_type_of(galv_json_member(object, key)) != GALV_JSON_ABSENT;
}

void galv_model_name_from_path(galv_model *model, const char *path)
{
    if (model->name[0] != '\0') {
        return;
    }
    const char *end = strrchr(path, '/');
    const char *base = end == NULL ? path : end + 1;
    const char *begin = base;
    size_t length = strlen(base);
    if (strcmp(base, "config.json") == 0 && end != NULL) {
        begin = end;
        while (begin > path && begin[-1] != '/') {
            begin--;
        }
        length = (size_t)(end - begin);
    } else {
        const char *dot = strrchr(base, '.');
        length = dot != NULL && dot != base ? (size_t)(dot - base) : length;
    }
    if (length == 0) {
        return;
    }
    length = length < sizeof model->name ? length : sizeof model->name - 1;
    memcpy(model->name, begin, length);
    model->name[length] = '\0';
}

static galv_status read_document(galv_model *model, galv_json_value root, bool is_yaml,
                                 galv_err *err)
{
    galv_json_value inner = galv_json_member(root, "model");
    bool is_ours = has(root, "schema");
    if (is_ours && galv_json_type_of(inner) == GALV_JSON_OBJECT) {
        return galv_model_from_json(model, inner, err);
    }
    if (is_ours || has(root, "groups") ||
        (has(root, "name") && has(root, "num_layers"))) {
        return galv_model_from_json(model, root, err);
    }
    if (is_yaml || has(root, "model_size")) {
        return galv_model_from_galvatron(model, root, err);
    }
    return galv_model_from_huggingface(model, root, err);
}

static galv_status load_file(galv_model *model, const char *path, galv_err *err)
{
    bool is_yaml =
        galv_path_has_extension(path, ".yaml") || galv_path_has_extension(path, ".yml");
    galv_json *document = NULL;
    galv_status status = is_yaml ? galv_yaml_read_file(&document, path, err)
                                 : galv_json_read_file(&document, path, err);
    if (status == GALV_OK) {
        status = read_document(model, galv_json_root(document), is_yaml, err);
    }
    if (status == GALV_OK) {
        galv_model_name_from_path(model, path);
    }
    galv_json_free(document);
    return status;
}

galv_status galv_model_load(galv_model *model, const char *name_or_path, galv_err *err)
{
    char config[512];
    if (galv_is_folder(name_or_path) &&
        snprintf(config, sizeof config, "%s/config.json", name_or_path) <
            (int)sizeof config &&
        galv_is_file(config)) {
        return load_file(model, config, err); /* a downloaded model's folder */
    }
    bool is_path = strcmp(name_or_path, "-") == 0 ||
                   galv_path_has_extension(name_or_path, ".json") ||
                   galv_path_has_extension(name_or_path, ".yaml") ||
                   galv_path_has_extension(name_or_path, ".yml") ||
                   strchr(name_or_path, '/') != NULL || galv_is_file(name_or_path);
    return is_path ? load_file(model, name_or_path, err)
                   : galv_catalog_model(model, name_or_path, err);
}
