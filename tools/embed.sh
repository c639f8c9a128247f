#!/bin/sh
# Prints a C source that holds a file as bytes: dir/name.ext becomes the symbols
# galv_data_name_ext[] (with a NUL after the last byte) and galv_data_name_ext_length.
set -eu
symbol=galv_data_$(basename "$1" | tr -c 'A-Za-z0-9\n' '_')
printf '#include <stddef.h>\n'
printf 'extern const char %s[];\nextern const size_t %s_length;\n' "$symbol" "$symbol"
printf 'const char %s[] = {\n' "$symbol"
od -An -v -tx1 "$1" | sed 's/ \([0-9a-f][0-9a-f]\)/(char)0x\1,/g'
printf '0};\nconst size_t %s_length = sizeof %s - 1;\n' "$symbol" "$symbol"
