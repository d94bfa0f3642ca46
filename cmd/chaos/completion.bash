# Sets cur, prev, words and cword: the words up to the cursor, where `=` and `:` cut none, unlike in COMP_WORDS.
__chaos_words()
{
    local rest=${COMP_LINE:0:COMP_POINT} i w lead last
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        w=${COMP_WORDS[i]}
        lead=
        while [[ $rest == [[:space:]]* ]]; do
            rest=${rest:1} lead=yes
        done
        last=$((${#words[@]} - 1))
        if [[ -z $lead && i -gt 0 && ( $w == [=:]* || ${words[last]} == *[=:] ) ]]; then
            words[last]+=$w
        else
            words+=("$w")
        fi
        rest=${rest:${#w}}
    done
    cword=$((${#words[@]} - 1))
    cur=${words[cword]} prev=
    ((cword == 0)) || prev=${words[cword - 1]}
}

# Completes folders and files: all, those with one of the extensions in $1 (a|b), or with -d none.
__chaos_filedir()
{
    local name
    while IFS= read -r name; do
        if [[ -d $name || -z $1 || ( $1 != -d && "|$1" == *"|${name##*.}|"* ) ]]; then
            COMPREPLY+=("$name")
        fi
    done < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
}

