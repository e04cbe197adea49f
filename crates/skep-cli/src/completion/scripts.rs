//! Scripts that teach a shell to ask `__complete`.

/// The script for a shell, for a program of this name.
pub(crate) fn script(shell: &str, program: &str) -> String {
    let text = match shell {
        "bash" => BASH,
        "zsh" => ZSH,
        _ => FISH,
    };
    text.replace("PROGRAM", program)
}

// `COMP_WORDS` are broken at `:` and `=`; the line itself is not. What is taken over is what stands
// behind the last of those letters.
const BASH: &str = r#"# bash completion for PROGRAM
_PROGRAM_complete() {
    local line=${COMP_LINE:0:COMP_POINT} directive=0 candidate last broken
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last=${words[${#words[@]}-1]}
    broken=${last%"${last##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        case $candidate in
            :[0-9]*) directive=${candidate#:} ;;
            *) COMPREPLY+=("${candidate#"$broken"}") ;;
        esac
    done < <("${words[0]}" __completeNoDesc "${words[@]:1}" 2> /dev/null)
    ((directive & 2)) && compopt -o nospace
    ((directive & 4)) || ((${#COMPREPLY[@]})) || compopt -o default
    return 0
}
complete -F _PROGRAM_complete PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
# zsh completion for PROGRAM
_PROGRAM() {
    local line directive=0
    local -a found space
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2> /dev/null)}"; do
        if [[ $line == :[0-9]* ]]; then
            directive=${line#:}
        elif [[ $line == *$'\t'* ]]; then
            found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            found+=("${line//:/\\:}")
        fi
    done
    ((directive & 2)) && space=(-S '')
    if (($#found)); then
        _describe -V PROGRAM found "${space[@]}"
    elif ! ((directive & 4)); then
        _files
    fi
}
if [[ ${funcstack[1]} == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
"#;

const FISH: &str = r#"# fish completion for PROGRAM
function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l directive 0
    set -l found
    for line in ($words[1] __complete $words[2..-1] $last 2> /dev/null)
        if string match -qr '^:[0-9]' -- $line
            set directive (string sub -s 2 -- $line)
        else
            set -a found $line
        end
    end
    if test (count $found) -gt 0
        printf '%s\n' $found
    else if test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path $last
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;
