"""What makes a frozen model better: any settings on several catalogues, chosen by rows kept aside."""
