/** Questions before something that cannot be undone. */

export interface Question {
  title: string;
  message: string;
  /** Further lines, e.g. what is deleted and what stays. */
  details?: string[];
  confirm: string;
  cancel?: string;
  danger?: boolean;
}

class Confirm {
  question = $state.raw<Question | null>(null);
  #answer: ((yes: boolean) => void) | null = null;

  /** Asks; one question at a time, a new one answers the old with no. */
  ask(question: Question): Promise<boolean> {
    this.#answer?.(false);
    this.question = question;
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(yes: boolean): void {
    this.question = null;
    this.#answer?.(yes);
    this.#answer = null;
  }
}

export const confirm = new Confirm();
