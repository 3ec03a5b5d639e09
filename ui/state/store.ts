/** Something that changes and says so. */
export class Store extends EventTarget {
  protected changed(): void {
    this.dispatchEvent(new Event('change'))
  }
}
