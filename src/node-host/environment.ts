import type { Env } from '../config/paths.ts'

/** Variables that a caller may set whatever it runs: they change how output looks, and nothing that is run. */
const ALLOWED = /^(TERM|COLORTERM|NO_COLOR|FORCE_COLOR|LANG|LC_[A-Z]+)$/

const list = (text: string): readonly string[] => text.trim().split(/\s+/)

/** Variables that choose what code runs, where programs find themselves, or whom they trust. */
const STEERING: ReadonlySet<string> = new Set(
  list(`
    PATH HOME SHELL USER LOGNAME ENV BASH_ENV BASHOPTS SHELLOPTS IFS CDPATH PS4 PROMPT_COMMAND KSH_ENV ZDOTDIR FPATH
    NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONINSPECT RUBYOPT RUBYLIB
    PERL5OPT PERL5LIB PERL5DB CLASSPATH JAVA_HOME JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS MAVEN_OPTS
    GRADLE_OPTS PHPRC PHP_INI_SCAN_DIR LUA_PATH LUA_CPATH LUA_INIT GCONV_PATH GETCONF_DIR LOCPATH NLSPATH TERMINFO
    TERMINFO_DIRS TERMCAP EDITOR VISUAL PAGER MANPAGER LESS LESSOPEN LESSCLOSE BROWSER CC CXX LD AR CFLAGS CXXFLAGS
    LDFLAGS MAKEFLAGS MFLAGS GNUMAKEFLAGS RUSTC_WRAPPER RUSTFLAGS CARGO_HOME GOFLAGS GOROOT GOPATH SSH_AUTH_SOCK
    SSH_ASKPASS SUDO_ASKPASS DOCKER_HOST DOCKER_CONFIG KUBECONFIG AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE
    SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE CURL_HOME WGETRC HTTP_PROXY HTTPS_PROXY ALL_PROXY
    NO_PROXY FTP_PROXY HOSTALIASES RES_OPTIONS LOCALDOMAIN XDG_CONFIG_HOME XDG_DATA_HOME XDG_CONFIG_DIRS XDG_DATA_DIRS
    INPUTRC READLINE_LINE OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES GNUPGHOME`)
)
const STEERING_PREFIX =
  /^(LD_|DYLD_|BASH_FUNC_|GIT_|NPM_CONFIG_|PIP_|UV_|BUNDLE_|GEM_|COMPOSER_|CARGO_BUILD_|OPENCLAW_)/

/** Variables that hold what this node proves itself with: no program that it runs needs them. */
const OWN_SECRET = /^OPENCLAW_.*(TOKEN|PASSWORD|SECRET|KEY)$/

/** How far a caller may change the environment of what it runs. */
export type Freedom =
  /** A rule or a person allowed this very command: only what leaves it the same command. */
  | 'allowed-names'
  /** Anything may run here, so only what would reach beyond the command is refused. */
  | 'any-harmless'

/** The caller's variables that a command gets, or the names that it may not set. */
export function overridesFor(given: Env, freedom: Freedom): { env: Record<string, string> } | { refused: string } {
  const names = Object.keys(given)
  const odd = names.filter((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
  if (odd.length > 0) return { refused: `invalid non-portable override keys: ${shown(odd)}` }
  const steering = names.filter((name) => isSteering(name.toUpperCase()))
  if (steering.length > 0) return { refused: `blocked override keys: ${shown(steering)}` }
  const other = freedom === 'any-harmless' ? [] : names.filter((name) => !ALLOWED.test(name))
  if (other.length > 0) return { refused: `not on the list of an allowed command: ${shown(other)}` }
  return { env: given as Record<string, string> }
}

/** The caller's variables cut to those that may be set whatever runs. */
export function cutToAllowed(given: Env): Record<string, string> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => ALLOWED.test(name))) as Record<string, string>
}

/** The environment of what this node runs: its own, without its secrets, and what the caller added. */
export function childEnvironment(own: Env, added: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(own).filter(([name, value]) => value !== undefined && !OWN_SECRET.test(name))
  return { ...(Object.fromEntries(kept) as Record<string, string>), ...added }
}

function isSteering(name: string): boolean {
  return STEERING.has(name) || STEERING_PREFIX.test(name)
}

function shown(names: readonly string[]): string {
  const some = names.slice(0, 8).map((name) => name.slice(0, 64).toUpperCase())
  return some.sort().join(', ') + (names.length > some.length ? ', …' : '')
}
