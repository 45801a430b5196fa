// What this library does not have, so that a program which was compiled against onnxruntime-genai still links and hears
// why when it asks. Parameters are left out: the caller removes them from the stack, and null is written nowhere.
#include "oga/result.h"

namespace {

OgaResult* unsupported(const char* function, const char* what) {
  return new (std::nothrow) OgaResult{std::string(function) + ": " + what + " not supported by this library"};
}

}  // namespace

#define REFUSE(function, what)           \
  OGA_EXPORT OgaResult* function() {     \
    return unsupported(#function, what); \
  }
// For what cannot report, of objects that cannot be made here.
#define NOTHING(function)       \
  OGA_EXPORT void* function() { \
    return nullptr;             \
  }

REFUSE(OgaLoadImage, "images are")
REFUSE(OgaLoadImages, "images are")
REFUSE(OgaLoadImagesFromBuffers, "images are")

REFUSE(OgaLoadAudio, "audio is")
REFUSE(OgaLoadAudios, "audio is")
REFUSE(OgaLoadAudiosFromBuffers, "audio is")

REFUSE(OgaCreateMultiModalProcessor, "multimodal models are")
REFUSE(OgaCreateTokenizerStreamFromProcessor, "multimodal models are")
REFUSE(OgaProcessorDecode, "multimodal models are")
REFUSE(OgaProcessorProcessAudios, "multimodal models are")
REFUSE(OgaProcessorProcessAudiosAndPrompts, "multimodal models are")
REFUSE(OgaProcessorProcessImages, "multimodal models are")
REFUSE(OgaProcessorProcessImagesAndAudios, "multimodal models are")
REFUSE(OgaProcessorProcessImagesAndAudiosAndPrompts, "multimodal models are")
REFUSE(OgaProcessorProcessImagesAndPrompts, "multimodal models are")

REFUSE(OgaCreateAdapters, "adapters are")
REFUSE(OgaLoadAdapter, "adapters are")
REFUSE(OgaSetActiveAdapter, "adapters are")
REFUSE(OgaUnloadAdapter, "adapters are")

REFUSE(OgaCreateEngine, "engines and requests are")
REFUSE(OgaCreateEngineEventBuffer, "engines and requests are")
REFUSE(OgaCreateRequest, "engines and requests are")
REFUSE(OgaCreateRequestOptions, "engines and requests are")
REFUSE(OgaEngineAddRequest, "engines and requests are")
REFUSE(OgaEngineCapabilitiesGetConfiguredMaxBatchSize, "engines and requests are")
REFUSE(OgaEngineCapabilitiesGetMaxRequestLength, "engines and requests are")
REFUSE(OgaEngineCapabilitiesGetMaxScheduledTokens, "engines and requests are")
REFUSE(OgaEngineCreateRequest, "engines and requests are")
REFUSE(OgaEngineEventBufferGet, "engines and requests are")
REFUSE(OgaEngineEventBufferGetCount, "engines and requests are")
REFUSE(OgaEngineEventGetErrorCode, "engines and requests are")
REFUSE(OgaEngineEventGetFinishReason, "engines and requests are")
REFUSE(OgaEngineEventGetFlags, "engines and requests are")
REFUSE(OgaEngineEventGetMatchedStopStringIndex, "engines and requests are")
REFUSE(OgaEngineEventGetRequest, "engines and requests are")
REFUSE(OgaEngineEventGetToken, "engines and requests are")
REFUSE(OgaEngineEventGetTurnId, "engines and requests are")
REFUSE(OgaEngineEventGetUsage, "engines and requests are")
REFUSE(OgaEngineGetCapabilities, "engines and requests are")
REFUSE(OgaEngineHasPendingRequests, "engines and requests are")
REFUSE(OgaEngineMaxDraftTokensPerProposal, "engines and requests are")
REFUSE(OgaEngineRemoveRequest, "engines and requests are")
REFUSE(OgaEngineRun, "engines and requests are")
REFUSE(OgaEngineStep, "engines and requests are")
REFUSE(OgaRequestAddTokens, "engines and requests are")
REFUSE(OgaRequestBeginTurn, "engines and requests are")
REFUSE(OgaRequestCancelTurn, "engines and requests are")
REFUSE(OgaRequestClose, "engines and requests are")
REFUSE(OgaRequestContinue, "engines and requests are")
REFUSE(OgaRequestCreateTurnOptions, "engines and requests are")
REFUSE(OgaRequestGetOpaqueData, "engines and requests are")
REFUSE(OgaRequestGetUnseenToken, "engines and requests are")
REFUSE(OgaRequestHasUnseenTokens, "engines and requests are")
REFUSE(OgaRequestIsTurnComplete, "engines and requests are")
REFUSE(OgaRequestOptionsSetMaxSessionTokens, "engines and requests are")
REFUSE(OgaRequestRewindToStartOfTurn, "engines and requests are")
REFUSE(OgaRequestSetDraftTokens, "engines and requests are")
REFUSE(OgaRequestSetOpaqueData, "engines and requests are")
REFUSE(OgaTurnOptionsClearGuidance, "engines and requests are")
REFUSE(OgaTurnOptionsClearSeed, "engines and requests are")
REFUSE(OgaTurnOptionsReset, "engines and requests are")
REFUSE(OgaTurnOptionsSetDelimitedGuidance, "engines and requests are")
REFUSE(OgaTurnOptionsSetDoSample, "engines and requests are")
REFUSE(OgaTurnOptionsSetGuidance, "engines and requests are")
REFUSE(OgaTurnOptionsSetMaxGeneratedTokens, "engines and requests are")
REFUSE(OgaTurnOptionsSetMinGeneratedTokens, "engines and requests are")
REFUSE(OgaTurnOptionsSetNoRepeatNgramSize, "engines and requests are")
REFUSE(OgaTurnOptionsSetRepetitionPenalty, "engines and requests are")
REFUSE(OgaTurnOptionsSetSeed, "engines and requests are")
REFUSE(OgaTurnOptionsSetStopStrings, "engines and requests are")
REFUSE(OgaTurnOptionsSetTemperature, "engines and requests are")
REFUSE(OgaTurnOptionsSetTopK, "engines and requests are")
REFUSE(OgaTurnOptionsSetTopP, "engines and requests are")
REFUSE(OgaTurnUsageGetCachedPromptTokens, "engines and requests are")
REFUSE(OgaTurnUsageGetGeneratedTokens, "engines and requests are")
REFUSE(OgaTurnUsageGetPromptTokens, "engines and requests are")

REFUSE(OgaEngineGetSpeculativeStats, "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaGeneratorParamsGetSpeculativeBool, "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaGeneratorParamsGetSpeculativeNumber,
       "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaGeneratorParamsSetSpeculativeBool, "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaGeneratorParamsSetSpeculativeNumber,
       "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaGenerator_GetSpeculativeStats, "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaSpeculativeStatsGetAcceptanceLengthCount,
       "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaSpeculativeStatsGetAcceptanceLengthHistogramSize,
       "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaSpeculativeStatsGetBool, "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaSpeculativeStatsGetCount, "options of speculative decoding, which this library does by itself, are")
REFUSE(OgaSpeculativeStatsGetNumber, "options of speculative decoding, which this library does by itself, are")

REFUSE(OgaCreateMtpGenerator, "multi-token prediction is")
REFUSE(OgaMtpGenerator_AppendTokens, "multi-token prediction is")
REFUSE(OgaMtpGenerator_GenerateNextToken, "multi-token prediction is")
REFUSE(OgaMtpGenerator_GetSpeculativeStats, "multi-token prediction is")
REFUSE(OgaMtpGenerator_Reset, "multi-token prediction is")

REFUSE(OgaConfigAddModelData, "model data from memory is")
REFUSE(OgaConfigRemoveModelData, "model data from memory is")

REFUSE(OgaConfigClearDecoderProviderOptionsHardwareDeviceId, "hardware devices are")
REFUSE(OgaConfigClearDecoderProviderOptionsHardwareDeviceType, "hardware devices are")
REFUSE(OgaConfigClearDecoderProviderOptionsHardwareVendorId, "hardware devices are")
REFUSE(OgaConfigSetDecoderProviderOptionsHardwareDeviceId, "hardware devices are")
REFUSE(OgaConfigSetDecoderProviderOptionsHardwareDeviceType, "hardware devices are")
REFUSE(OgaConfigSetDecoderProviderOptionsHardwareVendorId, "hardware devices are")

REFUSE(OgaCreateConfigFromPackageEp, "packages of models are")

REFUSE(OgaCreateModelWithRuntimeSettings, "runtime settings are")
REFUSE(OgaCreateRuntimeSettings, "runtime settings are")
REFUSE(OgaRuntimeSettingsSetHandle, "runtime settings are")

REFUSE(OgaGenerator_SetHiddenStates, "other inputs of a model are")
REFUSE(OgaGenerator_SetInputs, "other inputs of a model are")
REFUSE(OgaGenerator_SetModelInput, "other inputs of a model are")
REFUSE(OgaGenerator_SnapshotState, "other inputs of a model are")

REFUSE(OgaCreateStreamingProcessor, "streaming audio is")
REFUSE(OgaStreamingProcessorFlush, "streaming audio is")
REFUSE(OgaStreamingProcessorGetOption, "streaming audio is")
REFUSE(OgaStreamingProcessorProcess, "streaming audio is")
REFUSE(OgaStreamingProcessorSetOption, "streaming audio is")

NOTHING(OgaDestroyAdapters)
NOTHING(OgaDestroyAudios)
NOTHING(OgaDestroyEngine)
NOTHING(OgaDestroyEngineCapabilities)
NOTHING(OgaDestroyEngineEventBuffer)
NOTHING(OgaDestroyImages)
NOTHING(OgaDestroyMtpGenerator)
NOTHING(OgaDestroyMultiModalProcessor)
NOTHING(OgaDestroyRequest)
NOTHING(OgaDestroyRequestOptions)
NOTHING(OgaDestroyRuntimeSettings)
NOTHING(OgaDestroySpeculativeStats)
NOTHING(OgaDestroyStreamingProcessor)
NOTHING(OgaDestroyTurnOptions)
NOTHING(OgaMtpGenerator_GetAcceptCount)
NOTHING(OgaMtpGenerator_GetForwardCount)
NOTHING(OgaMtpGenerator_GetSequenceCount)
NOTHING(OgaMtpGenerator_GetSequenceData)
NOTHING(OgaMtpGenerator_GetTrialCount)
NOTHING(OgaMtpGenerator_IsDone)
