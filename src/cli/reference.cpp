// SPDX-License-Identifier: Apache-2.0
// What is derived from the tree of commands: completion scripts and docs/cli.md.
#include <algorithm>

#include <CLI/CLI.hpp>

#include "cli/app.h"

namespace weir::cli {
namespace {

// One command with the words that may follow it.
struct Node {
    std::string path;  ///< "pod list", "" for the root
    const CLI::App* app;
};

void walk(const CLI::App& app, const std::string& path, std::vector<Node>& nodes) {
    nodes.push_back({path, &app});
    for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
        walk(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), nodes);
    }
}

std::vector<Node> nodes_of(const CLI::App& app) {
    std::vector<Node> nodes;
    walk(app, "", nodes);
    return nodes;
}

std::vector<const CLI::App*> subcommands_of(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

std::vector<std::string> option_words(const CLI::App& app) {
    std::vector<std::string> words;
    for (const CLI::Option* option : app.get_options()) {
        for (const auto& name : option->get_lnames())
            words.push_back("--" + name);
        for (const auto& name : option->get_snames())
            words.push_back("-" + name);
    }
    return words;
}

std::vector<std::string> words_of(const CLI::App& app) {
    std::vector<std::string> words;
    for (const CLI::App* sub : subcommands_of(app))
        words.push_back(sub->get_name());
    const auto options = option_words(app);
    words.insert(words.end(), options.begin(), options.end());
    if (app.get_name() == "completion") words.insert(words.end(), {"bash", "zsh", "fish"});
    return words;
}

// Values of options that have fixed ones.
constexpr std::pair<const char*, const char*> kValues[] = {
    {"-o", "table wide json yaml name"},
    {"--output", "table wide json yaml name"},
    {"--verdict", "FORWARDED DROPPED"},
    {"--protocol", "TCP UDP ICMP ICMPv6 SCTP"},
    {"--state", "new established closing closed"},
};

std::string bash_script(const CLI::App& app) {
    std::string cases;
    for (const auto& node : nodes_of(app)) {
        cases += fmt::format("        \"{}\") words=\"{}\" ;;\n", node.path,
                             join(words_of(*node.app), " "));
    }
    std::string paths;
    for (const auto& node : nodes_of(app)) {
        if (!node.path.empty()) paths += (paths.empty() ? "" : " | ") + ("\"" + node.path + "\"");
    }
    std::string values;
    for (const auto& [option, choices] : kValues) {
        values += fmt::format("        {}) words=\"{}\" ;;\n", option, choices);
    }
    return fmt::format(R"(# bash completion of weir: source <(weir completion bash)
_weir() {{
    local words="" path="" word next current=${{COMP_WORDS[COMP_CWORD]}}
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        next=${{path:+$path }}$word
        case $next in
        {})
            path=$next ;;
        esac
    done
    case ${{COMP_WORDS[COMP_CWORD-1]}} in
{}        *)
        case $path in
{}        esac ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _weir weir
)",
                       paths, values, cases);
}

std::string zsh_script(const CLI::App& app) {
    return "#compdef weir\n# zsh completion of weir: source <(weir completion zsh)\n"
           "autoload -U +X bashcompinit && bashcompinit\n" +
           bash_script(app);
}

std::string fish_quoted(std::string text) {
    for (size_t at = 0; (at = text.find_first_of("'\\", at)) != std::string::npos; at += 2) {
        text.insert(at, "\\");
    }
    return "'" + text + "'";
}

// "pod list" is seen when both words stand on the line.
std::string fish_condition(const Node& node) {
    if (node.path.empty()) return "__fish_use_subcommand";
    std::string condition;
    std::istringstream words(node.path);
    for (std::string word; words >> word;) {
        condition += (condition.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + word);
    }
    return condition;
}

std::string fish_script(const CLI::App& app) {
    std::string text =
        "# fish completion of weir: weir completion fish | source\ncomplete -c weir -f\n";
    for (const auto& node : nodes_of(app)) {
        const std::string start =
            fmt::format("complete -c weir -n {}", fish_quoted(fish_condition(node)));
        for (const CLI::App* sub : subcommands_of(*node.app)) {
            text += fmt::format("{} -a {} -d {}\n", start, sub->get_name(),
                                fish_quoted(sub->get_description()));
        }
        for (const CLI::Option* option : node.app->get_options()) {
            if (option->get_lnames().empty()) continue;
            text += fmt::format("{} -l {} -d {}\n", start, option->get_lnames().front(),
                                fish_quoted(option->get_description()));
        }
    }
    return text +
           "complete -c weir -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n";
}

std::string escaped(std::string text) {
    for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) {
        text.insert(at, "\\");
    }
    return text;
}

// "TEXT:{a,b}" is how checks are shown; the choices are in the help already.
std::string value_name(const CLI::Option& option) {
    const std::string name = option.get_type_name();
    return name.substr(0, name.find(':'));
}

std::string option_row(const CLI::Option& option) {
    const bool named = option.nonpositional();
    const std::string name = named ? option.get_name(false, true) : option.get_name(true);
    const bool takes_value = named && option.get_items_expected_max() > 0;
    std::string help = option.get_description();
    if (!option.get_default_str().empty()) help += " (default `" + option.get_default_str() + "`)";
    if (!option.get_envname().empty()) help += " (environment `" + option.get_envname() + "`)";
    return fmt::format("| `{}`{} | {} |\n", name,
                       takes_value ? " " + escaped(value_name(option)) : "", escaped(help));
}

bool is_help(const CLI::Option& option) {
    return option.check_name("--help") || option.check_name("--help-all");
}

std::string sentence(std::string text) {
    text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
    return text + ".";
}

std::string command_section(const Node& node) {
    std::string text =
        fmt::format("\n## weir {}\n\n{}\n", node.path, sentence(node.app->get_description()));
    std::string rows;
    for (const CLI::Option* option : node.app->get_options()) {
        if (!is_help(*option)) rows += option_row(*option);
    }
    if (!rows.empty()) text += "\n| Option | Meaning |\n|---|---|\n" + rows;
    if (!node.app->get_footer().empty()) text += "\n" + node.app->get_footer() + "\n";
    return text;
}

}  // namespace

Result<std::string> completion_script(const CLI::App& app, const std::string& shell) {
    if (shell == "bash") return bash_script(app);
    if (shell == "zsh") return zsh_script(app);
    if (shell == "fish") return fish_script(app);
    return fail(Errc::kInvalid, "no completion for \"{}\": bash, zsh or fish", shell);
}

std::string cli_reference(const CLI::App& app) {
    std::string text =
        fmt::format("# The weir command\n\nGenerated by `weir-docs cli`; do not edit.\n\n{}\n",
                    app.get_footer());
    for (const auto& node : nodes_of(app)) {
        if (subcommands_of(*node.app).empty()) text += command_section(node);
    }
    return text;
}

}  // namespace weir::cli
