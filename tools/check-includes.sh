#!/bin/sh
# Holds the sources to the house rules that a compiler does not know: a room includes
# from rooms before it only, and the library neither prints nor exits.
set -u
rooms='base plan traces costmodel schedule sim accuracy search viz cli'
bad=0
below=''
for room in $rooms exec; do
    below="$below $room"
    allowed=$(echo "$below" | sed 's/^ //; s/ /|/g')
    if [ "$room" = exec ]; then # a program of its own, beside the library
        allowed='base|plan|traces|schedule|exec'
    fi
    for file in "$room"/*.[ch] "$room"/*.cu; do
        [ -e "$file" ] || continue
        wrong=$(grep -nE '^#include "[a-z]+/' "$file" | grep -vE "#include \"($allowed)/")
        if [ -n "$wrong" ]; then
            printf '%s includes from a room above it:\n%s\n' "$file" "$wrong"
            bad=1
        fi
        case $file in
        cli/* | exec/* | *.c | *_internal.h) ;;
        *)
            grep -q "^#include \"$file\"" galvatron.h || {
                printf 'galvatron.h does not include %s\n' "$file"
                bad=1
            }
            ;;
        esac
        case $file in
        cli/* | exec/*) ;;
        *)
            wrong=$(grep -nE '(^|[^a-z_])(printf|exit|abort)\(' "$file" |
                grep -vE '^[0-9]+: *(/?\*|//)')
            if [ -n "$wrong" ]; then
                printf '%s prints or exits:\n%s\n' "$file" "$wrong"
                bad=1
            fi
            ;;
        esac
        # shellcheck disable=SC2013
        for internal in $(sed -n 's/^#include "\([a-z]*\)\/[a-z_]*_internal.h".*/\1/p' "$file"); do
            if [ "$internal" != "$room" ]; then
                printf '%s includes an internal header of %s\n' "$file" "$internal"
                bad=1
            fi
        done
    done
done
exit $bad
