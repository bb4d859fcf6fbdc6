#!/bin/sh
# library.sh LIBRARY - libmagenv.so needs the C library only and exports magenv_* only.
set -eu
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
exported=$(nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }')
status=0
for library in $needed; do
    case $library in
    libc.so.6 | libm.so.6 | ld-linux*) ;;
    *)
        echo "links $library; a shared library for other people's programs must not"
        status=1
        ;;
    esac
done
for symbol in $exported; do
    case $symbol in
    magenv_*) ;;
    *)
        echo "exports $symbol, which may collide with a symbol of the program"
        status=1
        ;;
    esac
done
count=$(echo "$exported" | wc -l)
if [ "$count" -lt 14 ]; then
    echo "exports $count functions, 14 are the interface"
    status=1
fi
[ $status = 0 ] && echo "needs: $(echo $needed); exports $count functions"
exit $status
