"""How good chains are: MUC, B³, CEAF-e, their mean and LEA; GAP and WinoBias."""
