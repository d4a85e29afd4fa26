/** Whether the console's search field is shown. */
class Find {
  shown = $state(false);
  /** Counts requests: who is shown already takes the keyboard again. */
  asked = $state(0);

  open(): void {
    this.shown = true;
    this.asked++;
  }

  close(): void {
    this.shown = false;
  }
}

export const find = new Find();
