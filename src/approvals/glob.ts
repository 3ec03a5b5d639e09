/**
 * Reports whether a path fits a glob: `?` is one character and `*` any number of them within a name, and `**` as a name
 * of its own is any number of folders. All else is literal. Time is bounded by the product of the lengths.
 */
export function matchesPath(glob: string, path: string): boolean {
  const names = path.split('/')
  return matches(
    glob.split('/'),
    names,
    (part) => part === '**',
    (part, at) => matchesName(part, names[at]!)
  )
}

/** Reports whether a name fits a glob without folders. */
export function matchesName(glob: string, name: string): boolean {
  return matches(
    glob,
    name,
    (part) => part === '*',
    (part, at) => part === '?' || part === name[at]
  )
}

// Only the last star that was passed can be worth another try: no other choice reaches further.
function matches(
  pattern: ArrayLike<string>,
  subject: ArrayLike<string>,
  isStar: (part: string) => boolean,
  fits: (part: string, at: number) => boolean
): boolean {
  let [p, s, star, retry] = [0, 0, -1, 0]
  while (s < subject.length) {
    if (p < pattern.length && isStar(pattern[p]!)) {
      star = p++
      retry = s
    } else if (p < pattern.length && fits(pattern[p]!, s)) {
      p++
      s++
    } else if (star >= 0) {
      p = star + 1
      s = ++retry
    } else return false
  }
  while (p < pattern.length && isStar(pattern[p]!)) p++
  return p === pattern.length
}
